import { SourceError } from '../errors.js'
import { formatLimits } from '../limits.js'

/** What the first answer said of the file. Later ones must say the same. */
export interface FileState {
  readonly size: number
  readonly etag: string | undefined
  readonly modified: string | undefined
}

/** One answer: its state of the file, and its bytes. */
export interface RangeAnswer {
  readonly state: FileState
  readonly start: number
  /** After the last byte. */
  readonly end: number
  readonly body: AsyncIterable<Uint8Array>
}

/** Trouble that may be gone at the next try. */
export class PassingError extends Error {
  constructor(
    message: string,
    readonly waitMs = 0,
    options?: ErrorOptions
  ) {
    super(message, options)
  }
}

/** A server may ask for patience, but not for all of it. */
export const waitMaxMs = 30_000

/** Codings that leave bytes as they are. Object stores keep `aws-chunked` of an upload, which says nothing of the download. */
const plainCodings = ['', 'identity', 'binary', 'aws-chunked']

/** @throws SourceError when the error is final */
export function unreadable(name: string, why: string, cause?: unknown): SourceError {
  return new SourceError('SOURCE_UNREADABLE', `${name} can't be read: ${why}`, { where: name, cause })
}

export function changed(name: string, why: string): SourceError {
  return new SourceError('SOURCE_CHANGED', `${name} changed while it was read: ${why}`, { where: name })
}

/** What was asked for. */
export interface AskedRange {
  readonly name: string
  readonly start: number
  readonly end: number
  /** What was said of the file before. */
  readonly known: FileState | undefined
}

/**
 * Checks all of an answer but its bytes: every number is held against the range that was asked for, or against the
 * largest size of a file, before anybody counts up to it.
 *
 * @throws PassingError; SourceError for what another try would not mend
 */
export function readAnswer(
  { status, headers, body }: Response,
  { name, start, end, known }: AskedRange
): RangeAnswer {
  if (status === 404 || status === 410)
    throw new SourceError('SOURCE_MISSING', `${name} does not exist: the server says ${status}`, {
      where: name
    })
  if (status === 401 || status === 403) throw unreadable(name, `permission denied, the server says ${status}`)
  if (status === 408 || status === 425 || status === 429 || status >= 500)
    throw new PassingError(`the server says ${status}`, retryAfter(headers))
  if (status === 416) return emptyFile(headers, name, known)
  if (status === 200 && known !== undefined) throw changed(name, 'the server has another version of it now')
  if (status === 200)
    throw unreadable(
      name,
      'its server does not give ranges of a file (it answered a range request with 200); download the snapshot and use the file'
    )
  const range = /^bytes (\d{1,30})-(\d{1,30})\/(\d{1,30})$/.exec(headers.get('content-range') ?? '')
  const [first = NaN, last = NaN, size = NaN] = range?.slice(1).map(Number) ?? []
  if (status !== 206 || range === null || first > last || last >= size)
    throw unreadable(name, `its server gives a malformed answer to a range request (status ${status})`)
  checkCoding(headers, name)
  if (size > formatLimits.fileSizeMax)
    throw unreadable(
      name,
      `its server says that it has ${range[3] ?? ''} bytes, and a snapshot has at most ${formatLimits.fileSizeMax}`
    )
  const state = stateOf(headers, size)
  if (known !== undefined) checkSame(state, known, name)
  if (first !== start || last !== Math.min(end, size) - 1)
    throw unreadable(
      name,
      `its server gave bytes ${range[1] ?? ''}-${range[2] ?? ''} when asked for bytes ${start}-${end - 1}`
    )
  return { state, start, end: last + 1, body: (body as AsyncIterable<Uint8Array> | null) ?? noBytes() }
}

async function* noBytes(): AsyncGenerator<Uint8Array> {
  // an answer without a body
}

/** `fetch` has undone a compression by now, and a range of compressed bytes is none of the file's. */
function checkCoding(headers: Headers, name: string): void {
  const codings = (headers.get('content-encoding') ?? '').split(',').map((one) => one.trim().toLowerCase())
  if (codings.every((one) => plainCodings.includes(one))) return
  throw unreadable(
    name,
    `its server compresses it on the way, though asked not to (Content-Encoding: ${codings.join(', ').slice(0, 100)})`
  )
}

function stateOf(headers: Headers, size: number): FileState {
  return {
    size,
    etag: headers.get('etag') ?? undefined,
    modified: headers.get('last-modified') ?? undefined
  }
}

/** A range that cannot be had: of a file of no bytes, or one that has become shorter. */
function emptyFile(headers: Headers, name: string, known: FileState | undefined): RangeAnswer {
  if (known !== undefined) throw changed(name, 'it is shorter now')
  if (headers.get('content-range') !== 'bytes */0')
    throw unreadable(name, 'its server refuses the first bytes of it')
  return { state: stateOf(headers, 0), start: 0, end: 0, body: noBytes() }
}

function checkSame(state: FileState, known: FileState, name: string): void {
  if (state.size !== known.size) throw changed(name, `it had ${known.size} bytes and has ${state.size} now`)
  if (state.etag !== known.etag) throw changed(name, 'its ETag is another one')
  if (state.etag === undefined && state.modified !== known.modified)
    throw changed(name, 'its Last-Modified is another one')
}

function retryAfter(headers: Headers): number {
  const seconds = Number(headers.get('retry-after') ?? 0)
  return Number.isFinite(seconds) ? Math.min(waitMaxMs, Math.max(0, seconds * 1000)) : 0
}
