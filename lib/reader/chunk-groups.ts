import { digestSize } from '../format/digest.js'
import { blockSizeAt, rawSizeAt, type PageColumns } from '../format/index-page.js'
import { memoryLimits } from '../limits.js'
import { listBlocks, type BlockList } from './block-list.js'
import type { BlockPlace } from './check-block.js'

/** Chunks whose blocks lie side by side in the file, so that one read gets them. */
export interface ChunkGroup {
  readonly page: PageColumns
  /** Their entries in the page. */
  readonly indexes: number[]
  /** Of the first block. */
  readonly offset: number
  storedSize: number
  rawSize: number
}

export function openGroup(page: PageColumns, index: number): ChunkGroup {
  return { page, indexes: [], offset: page.blockOffsets[index] ?? 0, storedSize: 0, rawSize: 0 }
}

/** Whether the entry's block is the group's last one or follows it, and the group has room. */
export function canTake(group: ChunkGroup, index: number): boolean {
  if (group.rawSize >= memoryLimits.runSize) return false
  const offset = group.page.blockOffsets[index] ?? 0
  return offset === group.offset + group.storedSize || offset === lastBlock(group)
}

/** Enters the chunk, and gives its place in the group. */
export function addToGroup(group: ChunkGroup, index: number): number {
  const { page, indexes } = group
  if (page.blockOffsets[index] !== lastBlock(group)) group.storedSize += page.storedSizes[index] ?? 0
  group.rawSize += rawSizeAt(page, index)
  return indexes.push(index) - 1
}

/**
 * The chunks of those entries of a page side by side in memory, and so the frames of their blocks; chunks of one block
 * that follow each other share its frame.
 */
export function listChunks(page: PageColumns, indexes: readonly number[]): BlockList {
  let start = 0
  let end = 0
  let rawStart = 0
  let blockSize = 0
  let last: number | undefined
  let wasRepeat = false
  const places = indexes.map((index): BlockPlace => {
    const offset = page.blockOffsets[index] ?? 0
    const storedSize = page.storedSizes[index] ?? 0
    const rawSize = rawSizeAt(page, index)
    const isRepeat = page.kinds[index] !== 0
    // A repeat says by its own size how large the block is, whatever the entry before it says of that.
    if (offset !== last || isRepeat || wasRepeat) blockSize = blockSizeAt(page, index)
    if (offset !== last) {
      start = end
      end += storedSize
      last = offset
    }
    wasRepeat = isRepeat
    const digest = page.digests.subarray(index * digestSize, (index + 1) * digestSize)
    const innerOffset = page.innerOffsets[index] ?? 0
    const place = { start, storedSize, offset, rawStart, rawSize, innerOffset, blockSize, digest }
    rawStart += rawSize
    return place
  })
  return listBlocks(places)
}

function lastBlock({ page, indexes }: ChunkGroup): number | undefined {
  const last = indexes.at(-1)
  return last === undefined ? undefined : page.blockOffsets[last]
}
