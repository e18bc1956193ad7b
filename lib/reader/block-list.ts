import { digestSize } from '../format/digest.js'
import type { BlockPlace } from './check-block.js'

/**
 * Blocks to be read and decoded together, in the order of their frames in memory. As numbers in a row: a list of objects
 * takes as long to reach another thread as it takes to decode some of them.
 */
export interface BlockList {
  readonly count: number
  /** `fieldCount` numbers a block. */
  readonly fields: Float64Array
  /** 32 bytes a block; absent where nothing is known of the chunks. */
  readonly digests?: Uint8Array | undefined
}

/** start, storedSize, offset, rawStart, rawSize, innerOffset, blockSize: what they are, `BlockPlace` tells. */
const fieldCount = 7

/** @throws Error when some of the chunks have a digest, and others none */
export function listBlocks(blocks: readonly BlockPlace[]): BlockList {
  const fields = new Float64Array(blocks.length * fieldCount)
  const hasDigests = blocks[0]?.digest !== undefined
  const digests = hasDigests ? new Uint8Array(blocks.length * digestSize) : undefined
  for (const [i, block] of blocks.entries()) {
    const { start, storedSize, offset, rawStart, rawSize, innerOffset, blockSize = 0, digest } = block
    if ((digest !== undefined) !== hasDigests) throw new Error('of some chunks the digest is not known')
    fields.set([start, storedSize, offset, rawStart, rawSize, innerOffset, blockSize], i * fieldCount)
    if (digest !== undefined) digests?.set(digest, i * digestSize)
  }
  return { count: blocks.length, fields, digests }
}

export function blockAt({ fields, digests }: BlockList, index: number): BlockPlace {
  const at = index * fieldCount
  return {
    start: fields[at] ?? 0,
    storedSize: fields[at + 1] ?? 0,
    offset: fields[at + 2] ?? 0,
    rawStart: fields[at + 3] ?? 0,
    rawSize: fields[at + 4] ?? 0,
    innerOffset: fields[at + 5] ?? 0,
    blockSize: fields[at + 6] === 0 ? undefined : fields[at + 6],
    digest: digests?.subarray(index * digestSize, (index + 1) * digestSize)
  }
}

/** Bytes that the frames take in memory. */
export function framesSize({ count, fields }: BlockList): number {
  const at = (count - 1) * fieldCount
  return count === 0 ? 0 : (fields[at] ?? 0) + (fields[at + 1] ?? 0)
}
