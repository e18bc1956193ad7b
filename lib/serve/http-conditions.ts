/** What the conditions of a request say: go on, the client has it already, or what it wants is not there any more. */
export type ConditionResult = 'met' | 'not-modified' | 'failed'

/** Headers of a request; a list may be spread over several of one name, joined by commas. */
export interface ConditionHeaders {
  readonly 'if-match'?: string | undefined
  readonly 'if-none-match'?: string | undefined
}

/**
 * `If-Match` and `If-None-Match` of RFC 9110, section 13, in their order. Dates are ignored: a snapshot has none.
 *
 * @param etag a strong one, with its quotes
 */
export function checkConditions(headers: ConditionHeaders, etag: string): ConditionResult {
  const match = headers['if-match']
  if (match !== undefined && !names(match, (one) => one === etag)) return 'failed'
  const noneMatch = headers['if-none-match']
  if (noneMatch !== undefined && names(noneMatch, (one) => one.replace(/^W\//, '') === etag))
    return 'not-modified'
  return 'met'
}

/** Whether a range may be given: `If-Range` holds a strong tag, and it is this one. */
export function isRangeCurrent(ifRange: string | undefined, etag: string): boolean {
  return ifRange === undefined || ifRange.trim() === etag
}

/** Whether `*`, or one of the tags of a list, is meant. A tag may have commas in it. */
function names(list: string, isMeant: (tag: string) => boolean): boolean {
  return list.trim() === '*' || (list.match(/(?:W\/)?"[^"]*"/g) ?? []).some(isMeant)
}
