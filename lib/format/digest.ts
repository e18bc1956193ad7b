import { blake3 as digest, Blake3Hasher } from '@napi-rs/blake-hash'

/** Bytes of a digest in every structure of the format. */
export const digestSize = 32

/**
 * BLAKE3 of `bytes` (O'Connor, Aumasson, Neves, Wilcox-O'Hearn: BLAKE3, one function, fast everywhere;
 * 2020), 32 bytes. The package takes any view of bytes, though its types name only Buffer.
 */
export function blake3(bytes: Uint8Array): Buffer {
  return digest(bytes as Buffer)
}

/** The same of pieces, one after another, which are not copied. */
export function blake3Of(pieces: readonly Uint8Array[]): Buffer {
  const hasher = new Blake3Hasher()
  for (const piece of pieces) hasher.update(piece as Buffer)
  return hasher.digestBuffer()
}
