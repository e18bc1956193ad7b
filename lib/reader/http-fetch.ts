import { PassingError, readAnswer, unreadable, type FileState, type RangeAnswer } from './http-answer.js'
import { isHttp, takeLogin } from './http-url.js'

/** Where a file is fetched from. */
export interface HttpFile {
  /** Without a login. */
  readonly url: URL
  /** For messages. */
  readonly name: string
  readonly headers: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

const redirectMax = 5

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
  const response = await follow(url, name, signal, headers, {
    // With a range, `fetch` itself asks for no compression on the way (`accept-encoding: identity`).
    range: `bytes=${start}-${end - 1}`,
    ...(condition === undefined ? {} : { 'if-range': condition })
  })
  try {
    return readAnswer(response, { name, start, end, known })
  } catch (error) {
    await response.body?.cancel().catch(() => undefined)
    throw error
  }
}

/**
 * Follows redirects by hand: headers may be secret, and so are for the first host only. A login in the address that a
 * server redirects to is for that request only.
 */
async function follow(
  first: URL,
  name: string,
  signal: AbortSignal,
  secret: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>>
): Promise<Response> {
  let url = first
  let login: Readonly<Record<string, string>> = {}
  for (let count = 0; count <= redirectMax; count++) {
    const sent = { ...(url.origin === first.origin ? secret : {}), ...login, ...headers }
    const response = await fetch(url, { headers: sent, redirect: 'manual', signal }).catch(
      (error: unknown) => {
        signal.throwIfAborted()
        throw new PassingError(reasonOf(error), 0, { cause: error })
      }
    )
    const location = response.headers.get('location')
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response
    await response.body?.cancel().catch(() => undefined)
    if (!URL.canParse(location, url.href)) throw unreadable(name, 'it is redirected to what is not a URL')
    const next = new URL(location, url)
    if (!isHttp(next) || (url.protocol === 'https:' && next.protocol !== 'https:'))
      throw unreadable(name, `it is redirected to where hexz does not follow, ${next.protocol.slice(0, 100)}`)
    const taken = takeLogin(next)
    url = taken.url
    login = taken.authorization === undefined ? {} : { authorization: taken.authorization }
  }
  throw unreadable(name, `it is redirected more than ${redirectMax} times`)
}

/** fetch says "fetch failed"; what happened is in the cause. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  if (!(cause instanceof Error)) return String(cause)
  return cause.message === '' && 'code' in cause ? String(cause.code) : cause.message
}
