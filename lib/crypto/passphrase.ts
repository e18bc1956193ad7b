import { KeyError } from '../errors.js'
import { wipe } from './sealing.js'

/** Passphrases compare as people see them: Unicode NFC, as UTF-8, without the line end of a file. */
export function normalizePassphrase(text: string): Buffer {
  // Half a surrogate pair would become U+FFFD, and so would every other half.
  if (/\p{Surrogate}/u.test(text)) throw notText('')
  return refuseEmpty(Buffer.from(text.replace(/\r?\n$/, '').normalize('NFC')))
}

/**
 * The same of bytes, which are wiped.
 *
 * @param where they come from, for the message: ` in FILE`
 * @throws KeyError KEY_UNUSABLE for bytes that are not text in UTF-8: they must not become other ones, which would be
 * far fewer; KEY_MISSING
 */
export function toPassphrase(bytes: Uint8Array, where: string): Buffer {
  try {
    return normalizePassphrase(decodeText(bytes))
  } catch (error) {
    if (error instanceof TypeError) throw notText(where)
    throw error
  } finally {
    wipe(bytes)
  }
}

/** @throws TypeError */
function decodeText(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
}

function notText(where: string): KeyError {
  return new KeyError('KEY_UNUSABLE', `the passphrase${where} is not text in UTF-8`)
}

/**
 * What a passphrase may have been to the program that encrypted a file of keys with it: text in NFC, as hexz takes it; or
 * the very bytes, which may be in NFD, or not in UTF-8.
 */
export function keyFilePassphrases(bytes: Uint8Array): Buffer[] {
  const given = Buffer.from(bytes)
  try {
    const normal = Buffer.from(decodeText(bytes).normalize('NFC'))
    return normal.equals(given) ? [given] : [normal, given]
  } catch {
    return [given]
  }
}

function refuseEmpty<Bytes extends Uint8Array>(passphrase: Bytes): Bytes {
  if (passphrase.length === 0)
    throw new KeyError('KEY_MISSING', 'the passphrase is empty; give one of at least one character')
  return passphrase
}

/**
 * Lends a passphrase as bytes. Those that were made of a text are wiped afterwards; bytes that were given
 * are used as they are, and stay their owner's to wipe.
 *
 * @throws KeyError KEY_MISSING for an empty one, KEY_UNUSABLE for a text that is none; whatever `use` throws
 */
export async function withPassphrase<T>(
  passphrase: string | Uint8Array,
  use: (bytes: Uint8Array) => Promise<T>
): Promise<T> {
  const made = typeof passphrase === 'string' ? normalizePassphrase(passphrase) : undefined
  try {
    return await use(made ?? refuseEmpty(passphrase as Uint8Array))
  } finally {
    wipe(made)
  }
}
