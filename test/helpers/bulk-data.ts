import { createCipheriv } from 'node:crypto'

/** Megabytes that no codec shrinks and no dedup finds twice, fast: a key stream of AES. */
export function cipherBytes(size: number, seed: number): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(size))
}
