import { blockAt, type BlockList } from './block-list.js'

/** One read of a file, bytes. */
export interface BlockRead {
  /** Where the bytes go in the memory of all blocks. */
  readonly start: number
  readonly size: number
  /** Where they lie in the file. */
  readonly offset: number
}

/** The reads that get all blocks: blocks side by side are one. */
export function* readsOf(blocks: BlockList): Generator<BlockRead, void> {
  let read: BlockRead | undefined
  for (let i = 0; i < blocks.count; i++) {
    const { start, storedSize, offset } = blockAt(blocks, i)
    if (read !== undefined && start < read.start + read.size) continue // another chunk of the same block
    const isNext = read !== undefined && read.offset + read.size === offset
    if (read !== undefined && !isNext) yield read
    read =
      read !== undefined && isNext
        ? { ...read, size: read.size + storedSize }
        : { start, size: storedSize, offset }
  }
  if (read !== undefined) yield read
}
