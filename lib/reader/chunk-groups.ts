import { digestAt, type PageColumns } from '../format/index-page.js'
import { memoryLimits } from '../limits.js'
import type { BlockPlace } from './check-block.js'

/** Chunks whose blocks lie side by side in the file, so that one read gets them. */
export interface ChunkGroup {
  readonly offset: number
  storedSize: number
  rawSize: number
  readonly blocks: BlockPlace[]
}

export function openGroup(page: PageColumns, index: number): ChunkGroup {
  return { offset: page.blockOffsets[index] ?? 0, storedSize: 0, rawSize: 0, blocks: [] }
}

/** Whether the entry's block is the group's last one or follows it, and the group has room. */
export function canTake(group: ChunkGroup, page: PageColumns, index: number): boolean {
  if (group.rawSize >= memoryLimits.runSize) return false
  const offset = page.blockOffsets[index] ?? 0
  return offset === group.offset + group.storedSize || offset === group.blocks.at(-1)?.offset
}

/** Enters the chunk, and gives its place in the group. */
export function addToGroup(group: ChunkGroup, page: PageColumns, index: number): number {
  const offset = page.blockOffsets[index] ?? 0
  const storedSize = page.storedSizes[index] ?? 0
  const rawSize = (page.starts[index + 1] ?? 0) - (page.starts[index] ?? 0)
  const last = group.blocks.at(-1)
  const isSame = last?.offset === offset
  group.blocks.push({
    start: isSame ? last.start : group.storedSize,
    storedSize,
    offset,
    rawStart: group.rawSize,
    rawSize,
    innerOffset: page.innerOffsets[index] ?? 0,
    digest: digestAt(page, index)
  })
  if (!isSame) group.storedSize += storedSize
  group.rawSize += rawSize
  return group.blocks.length - 1
}
