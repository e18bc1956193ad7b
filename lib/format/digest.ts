import type * as BlakeHash from '@napi-rs/blake-hash'
import { loadNative } from '../native.js'

let digest: typeof BlakeHash.blake3 | undefined

/** Bytes of a digest in every structure of the format. */
export const digestSize = 32

/**
 * BLAKE3 of `bytes` (O'Connor, Aumasson, Neves, Wilcox-O'Hearn: BLAKE3, one function, fast everywhere;
 * 2020), 32 bytes. The package takes any view of bytes, though its types name only Buffer.
 */
export function blake3(bytes: Uint8Array): Buffer {
  digest ??= (loadNative('@napi-rs/blake-hash') as typeof BlakeHash).blake3
  return digest(bytes as Buffer)
}
