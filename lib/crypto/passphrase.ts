import { KeyError } from '../errors.js'
import { wipe } from './sealing.js'

/** Passphrases compare as people see them: Unicode NFC, as UTF-8, without the line end of a file. */
export function normalizePassphrase(text: string): Buffer {
  return refuseEmpty(Buffer.from(text.replace(/\r?\n$/, '').normalize('NFC')))
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
 * @throws KeyError KEY_MISSING for an empty one; whatever `use` throws
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
