import { createRing } from '../dedup/ring.js'
import type { ChunkEntry } from '../format/index-page.js'
import { memoryLimits } from '../limits.js'
import type { SharedDictionary } from '../workers/prepared.js'
import type { Structure } from './structure.js'
import { createBlockReader } from './block-reader.js'
import type { ByteSource } from './byte-source.js'

/** Words of 32 bits a row: block offset (two), raw size, digest. */
const rowWords = 11

/** The blocks checked so far, to hold repeats against without decoding them again. */
export interface KnownBlocks {
  /** Blocks come in file order. */
  add(entry: ChunkEntry): void
  /** @throws CorruptError BAD_DIGEST when the block that a repeat names holds another chunk */
  check(repeat: ChunkEntry): Promise<void>
}

/** Takes 44 bytes a block and keeps the newest; a repeat of one it has forgotten is decoded. */
export function createKnownBlocks(
  source: ByteSource,
  { framesOffset, sealing }: Pick<Structure, 'framesOffset' | 'sealing'>,
  dictionary: SharedDictionary | undefined,
  memory: number = memoryLimits.dedupMemoryDefault
): KnownBlocks {
  const capacity = Math.floor(memory / (4 * rowWords))
  const rows = createRing(capacity, rowWords)
  const blocks = createBlockReader(source, framesOffset, sealing, () => Promise.resolve(dictionary))
  let addedCount = 0

  const offsetAt = (index: number): number =>
    rows.word(index % capacity, 0) + rows.word(index % capacity, 1) * 2 ** 32

  /** Index of the kept block at that offset, or −1. */
  const find = (offset: number): number => {
    let low = Math.max(0, addedCount - capacity)
    let high = addedCount
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (offsetAt(middle) < offset) low = middle + 1
      else high = middle
    }
    return low < addedCount && offsetAt(low) === offset ? low : -1
  }

  return {
    add(entry) {
      if (entry.innerOffset !== 0) return
      rows.set(addedCount % capacity, rowOf(entry))
      addedCount += 1
    },
    async check(repeat) {
      const index = repeat.innerOffset === 0 ? find(repeat.blockOffset) : -1
      if (index !== -1 && rows.equals(index % capacity, rowOf(repeat))) return
      await blocks.read(repeat)
    }
  }
}

function rowOf({ blockOffset, rawSize, digest }: ChunkEntry): Uint32Array {
  const row = new Uint32Array(rowWords)
  row[0] = blockOffset % 2 ** 32
  row[1] = Math.floor(blockOffset / 2 ** 32)
  row[2] = rawSize
  new Uint8Array(row.buffer).set(digest, 12)
  return row
}
