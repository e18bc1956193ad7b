/**
 * The one gate between text and bytes: UTF-8, strictly. Node's own conversions put U+FFFD in place of what they can't
 * convert, so that two different passphrases, names or files become one.
 */

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Bytes as text; `undefined` when they are not UTF-8. A byte order mark is text like any other. */
export function decodeText(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes)
  } catch {
    return undefined
  }
}

/** Text as bytes; `undefined` when it holds half of a surrogate pair, which UTF-8 cannot. */
export function encodeText(text: string): Buffer | undefined {
  return isWellFormed(text) ? Buffer.from(text) : undefined
}

/** What `String.prototype.isWellFormed` of ES2024 tells. */
function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}
