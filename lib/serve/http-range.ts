/** What a request asks for: all of it, a part, or what is not there. Bytes, `end` behind the last. */
export type RangeChoice = { readonly start: number; readonly end: number } | 'all' | 'unsatisfiable'

/**
 * The `Range` header of RFC 9110, section 14. What is no single range of bytes is ignored, as the RFC
 * allows, and so the whole is given.
 */
export function chooseRange(header: string | undefined, size: number): RangeChoice {
  const match = /^bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header ?? '')
  const [, first = '', last = ''] = match ?? []
  if (match === null || (first === '' && last === '')) return 'all'
  if (first === '') {
    const length = Math.min(size, Number(last))
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size }
  }
  const start = Number(first)
  if (last !== '' && Number(last) < start) return 'all'
  if (start >= size) return 'unsatisfiable'
  return { start, end: last === '' ? size : Math.min(size, Number(last) + 1) }
}
