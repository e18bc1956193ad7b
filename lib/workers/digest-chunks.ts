import { isZero } from '../chunking/zero.js'
import { blake3, digestSize } from '../format/digest.js'

export interface DigestChunksArgs {
  readonly bytes: Uint8Array
  readonly sizes: Uint32Array
}

export interface DigestedChunks {
  readonly digests: Uint8Array
  readonly isHole: boolean[]
}

/** Digest of each chunk, back to back; zeros for a chunk of zeros, which needs none. */
export async function digestChunks({ bytes, sizes }: DigestChunksArgs): Promise<DigestedChunks> {
  const digests = new Uint8Array(sizes.length * digestSize)
  const isHole: boolean[] = []
  let start = 0
  sizes.forEach((size, i) => {
    const chunk = bytes.subarray(start, start + size)
    const hole = isZero(chunk)
    isHole.push(hole)
    if (!hole) digests.set(blake3(chunk), i * digestSize)
    start += size
  })
  return Promise.resolve({ digests, isHole })
}
