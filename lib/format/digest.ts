import type * as BlakeHash from '@napi-rs/blake-hash'
import { loadNative } from '../native.js'

let loaded: typeof BlakeHash | undefined
const binding = (): typeof BlakeHash => (loaded ??= loadNative('@napi-rs/blake-hash') as typeof BlakeHash)

/** Bytes of a digest in every structure of the format. */
export const digestSize = 32

/**
 * BLAKE3 of `bytes` (O'Connor, Aumasson, Neves, Wilcox-O'Hearn: BLAKE3, one function, fast everywhere;
 * 2020), 32 bytes. The package takes any view of bytes, though its types name only Buffer.
 */
export function blake3(bytes: Uint8Array): Buffer {
  return binding().blake3(bytes as Buffer)
}

/** The same of pieces, one after another, which are not copied. */
export function blake3Of(pieces: readonly Uint8Array[]): Buffer {
  const hasher = new (binding().Blake3Hasher)()
  for (const piece of pieces) hasher.update(piece as Buffer)
  return hasher.digestBuffer()
}
