import { setTimeout as delay } from 'node:timers/promises'
import { SourceError } from '../errors.js'

/** How an HTTP source meets trouble; all optional. */
export interface HttpOptions {
  /** Tries of one range that bring no byte, before it is given up. Default 5. */
  readonly tryCount?: number
  /** Wait before the second try; it doubles from try to try. Default 250 ms. */
  readonly retryDelayMs?: number
  /** A server that sends nothing for so long is as good as gone. Default 30 s. */
  readonly timeoutMs?: number
  /** Sent with each request to the host of the URL, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>>
}

/** What the first answer said of the file. Later ones must say the same. */
export interface FileState {
  readonly size: number
  readonly etag: string | undefined
  readonly modified: string | undefined
}

/** Where a file is fetched from. */
export interface HttpFile {
  readonly url: URL
  /** For messages: without user, password and query, which may be secret. */
  readonly name: string
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** One answer: its state of the file, and its bytes. */
export interface RangeAnswer {
  readonly state: FileState
  readonly start: number
  /** Behind the last byte. */
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

const redirectMax = 5
/** A server may ask for patience, but not for all of it. */
const waitMaxMs = 30_000

/** @throws SourceError when the error is final */
export function unreadable(name: string, why: string, cause?: unknown): SourceError {
  return new SourceError('SOURCE_UNREADABLE', `${name} can't be read: ${why}`, { where: name, cause })
}

export function changed(name: string, why: string): SourceError {
  return new SourceError('SOURCE_CHANGED', `${name} changed while it was read: ${why}`, { where: name })
}

/**
 * Asks for a range once, and checks all of the answer but its bytes.
 *
 * @param known what was said of the file before; the answer is to be of the same file
 * @throws PassingError; SourceError for what another try would not mend
 */
export async function fetchRange(
  { url, name, headers, signal }: HttpFile,
  start: number,
  end: number,
  known: FileState | undefined
): Promise<RangeAnswer> {
  const condition = known?.etag?.startsWith('"') === true ? known.etag : known?.modified
  // With a range, fetch itself asks for no compression on the way, which would give other offsets.
  const response = await follow(url, name, signal, headers, {
    range: `bytes=${start}-${end - 1}`,
    ...(condition === undefined ? {} : { 'if-range': condition })
  })
  try {
    return readAnswer(response, name, start, end, known)
  } catch (error) {
    await response.body?.cancel().catch(() => undefined)
    throw error
  }
}

/** Follows redirects by hand: headers may be secret, and so are for the first host only. */
async function follow(
  first: URL,
  name: string,
  signal: AbortSignal,
  secret: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>>
): Promise<Response> {
  let url = first
  for (let count = 0; count <= redirectMax; count++) {
    const sent = url.origin === first.origin ? { ...secret, ...headers } : headers
    const response = await fetch(url, { headers: sent, redirect: 'manual', signal }).catch(
      (error: unknown) => {
        signal.throwIfAborted()
        throw new PassingError(reasonOf(error), 0, { cause: error })
      }
    )
    const location = response.headers.get('location')
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response
    await response.body?.cancel().catch(() => undefined)
    const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined
    if (next === undefined || !isHttp(next) || (url.protocol === 'https:' && next.protocol !== 'https:'))
      throw unreadable(name, `it is redirected to where hexz does not follow, ${next?.protocol ?? location}`)
    url = next
  }
  throw unreadable(name, `it is redirected more than ${redirectMax} times`)
}

export const isHttp = (url: URL): boolean => url.protocol === 'http:' || url.protocol === 'https:'

/** fetch says "fetch failed"; what happened is in the cause. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  if (!(cause instanceof Error)) return String(cause)
  return cause.message === '' && 'code' in cause ? String(cause.code) : cause.message
}

function readAnswer(
  { status, headers, body }: Response,
  name: string,
  start: number,
  end: number,
  known: FileState | undefined
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
  const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers.get('content-range') ?? '')
  if (status !== 206 || range === null || (headers.get('content-encoding') ?? 'identity') !== 'identity')
    throw unreadable(name, `its server gives an answer that is none to a range request (status ${status})`)
  const [first, last, size] = range.slice(1).map(Number) as [number, number, number]
  const state = stateOf(headers, size)
  if (known !== undefined) checkSame(state, known, name)
  if (first !== start || last !== Math.min(end, size) - 1)
    throw unreadable(name, `its server gave bytes ${first} to ${last} when asked for ${start} to ${end - 1}`)
  return { state, start, end: last + 1, body: (body as AsyncIterable<Uint8Array> | null) ?? noBytes() }
}

async function* noBytes(): AsyncGenerator<Uint8Array> {
  // an answer without a body
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

/** Waits before another try, twice as long each time. */
export function backOff(
  error: PassingError,
  delayMs: number,
  tries: number,
  signal: AbortSignal
): Promise<void> {
  const waitMs = Math.min(waitMaxMs, Math.max(error.waitMs, delayMs * 2 ** (tries - 1)))
  return delay(waitMs, undefined, { signal })
}
