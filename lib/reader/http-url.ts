/** Whether a name is a URL that `openHttpBytes` takes. */
export function isHttpUrl(name: string): boolean {
  return /^https?:\/\//i.test(name)
}

export const isHttp = (url: URL): boolean => url.protocol === 'http:' || url.protocol === 'https:'

/**
 * A URL as messages show it: scheme, host and path. A login, what stands after `?` and what stands after `#` may be
 * secret, and are left out, also of what only looks like a URL. Other names stay as they are.
 */
export function nameOfUrl(name: string): string {
  const [, scheme = '', rest = ''] = /^([a-z][a-z\d+.-]*:\/\/)(.*)$/is.exec(name) ?? []
  if (scheme === '') return name
  if (isHttpUrl(name) && URL.canParse(name)) {
    const { origin, pathname } = new URL(name)
    return origin + pathname
  }
  // Nobody knows what is the login here: a password may have any letter.
  return scheme + (rest.slice(rest.lastIndexOf('@') + 1).split(/[?#]/, 1)[0] ?? '')
}

/** A message with the URLs among these words, as somebody typed them, shown as `nameOfUrl` does. */
export function hideSecrets(message: string, words: readonly string[]): string {
  const urls = words.flatMap((word) => /[a-z][a-z\d+.-]*:\/\/.*[@?#].*$/is.exec(word)?.[0] ?? [])
  return urls.reduce((text, url) => text.replaceAll(url, () => nameOfUrl(url)), message)
}

/**
 * Takes the login out of a URL, as the value of an `authorization` header (RFC 7617, in UTF-8). A `%` that begins no
 * byte stands for itself.
 */
export function takeLogin(from: URL): { url: URL; authorization: string | undefined } {
  const url = new URL(from)
  url.username = ''
  url.password = ''
  url.hash = ''
  if (from.username === '' && from.password === '') return { url, authorization: undefined }
  const login = Buffer.concat([decodePercent(from.username), Buffer.from(':'), decodePercent(from.password)])
  return { url, authorization: `Basic ${login.toString('base64')}` }
}

/** A URL has nothing but ASCII in it: other letters are percent-encoded by then. */
function decodePercent(text: string): Buffer {
  const bytes = text.replace(/%([\da-f]{2})/gi, (_, digits: string) =>
    String.fromCharCode(parseInt(digits, 16))
  )
  return Buffer.from(bytes, 'latin1')
}
