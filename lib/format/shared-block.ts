import type { ChunkEntry } from './index-page.js'

/** Follows which block the entries of a page lie in. */
export interface SharedBlock {
  /** What is wrong with the next entry, if anything is. */
  take(chunk: Omit<ChunkEntry, 'digest'>): string | undefined
  /** An entry that is not a chunk ends the block before it. */
  end(): void
}

/**
 * Blocks come in file order. Where several entries share one, they are adjacent, and each starts where the one before it
 * ends. So a block is never decoded for more entries than it has bytes.
 */
export function createSharedBlock(): SharedBlock {
  let open: Omit<ChunkEntry, 'digest'> | undefined
  let blocksEnd = 0
  return {
    take(chunk) {
      const { kind, blockOffset, storedSize, innerOffset } = chunk
      const isShared = kind === 'block' && open?.blockOffset === blockOffset
      const start = isShared && open !== undefined ? open.innerOffset + open.rawSize : 0
      if (innerOffset !== start) return `starts at byte ${innerOffset} of its block, not at ${start}`
      if (isShared && open?.storedSize !== storedSize) return 'gives its block another size'
      if (kind === 'block' && !isShared && blockOffset < blocksEnd) return 'names a block before the last one'
      open = kind === 'block' ? chunk : undefined
      if (kind === 'block') blocksEnd = blockOffset + storedSize
      return undefined
    },
    end() {
      open = undefined
    }
  }
}
