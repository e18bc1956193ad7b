import { createRing } from '../dedup/ring.js'
import { CorruptError } from '../errors.js'
import { digestSize } from '../format/digest.js'
import {
  blockSizeAt,
  digestAt,
  findBlock,
  isHoleAt,
  isRepeatAt,
  rawSizeAt,
  type PageColumns
} from '../format/index-page.js'
import { memoryLimits } from '../limits.js'
import type { SharedDictionary } from '../workers/prepared.js'
import type { Structure } from './structure.js'
import { createBlockReader } from './block-reader.js'
import type { ByteSource } from './byte-source.js'
import { pageAfter } from './find-page.js'
import type { PageStore } from './page-store.js'

/** Words of 32 bits a row: block offset (two), stored size, plain size, digest. */
const rowWords = 12

/** The blocks met so far, to hold repeats against. */
export interface KnownBlocks {
  /** Enters the blocks of a page whose frames were found as it says. Pages come in file order. */
  add(page: PageColumns): void
  /**
   * @throws CorruptError BAD_STRUCTURE when a repeat of the page names what is no block that was met, whole, with that
   * size; BAD_DIGEST when the block holds another chunk
   */
  check(page: PageColumns): Promise<void>
}

/**
 * Takes 48 bytes a block and keeps the newest. Of one that it has forgotten, the page that describes it tells: that
 * page was held against the frames before it, so that what it does not name is no block, though bytes inside another
 * frame may look like one. So nothing is taken on the word of a repeat, however many blocks there are.
 *
 * @param pages gives pages that were checked
 */
export function createKnownBlocks(
  source: ByteSource,
  { root, framesOffset, sealing }: Pick<Structure, 'root' | 'framesOffset' | 'sealing'>,
  dictionary: SharedDictionary | undefined,
  pages: Pick<PageStore, 'get'>,
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

  /** The row of a block that is kept no more, or holds several chunks. */
  const rowFromPage = async (offset: number): Promise<Uint32Array | undefined> => {
    const page = await pages.get(pageAfter(root, offset))
    const index = findBlock(page, offset)
    return index === undefined ? undefined : rowOf(page, index)
  }

  return {
    add(page) {
      for (let index = 0; index < page.entryCount; index++) {
        if (isHoleAt(page, index) || isRepeatAt(page, index) || page.innerOffsets[index] !== 0) continue
        rows.set(addedCount % capacity, rowOf(page, index))
        addedCount += 1
      }
    },
    async check(page) {
      for (let index = 0; index < page.entryCount; index++) {
        if (!isRepeatAt(page, index)) continue
        const wanted = rowOf(page, index)
        const offset = page.blockOffsets[index] ?? 0
        const kept = find(offset)
        if (kept !== -1 && rows.equals(kept % capacity, wanted)) continue
        const found = await rowFromPage(offset)
        if (found === undefined || !isSamePlace(found, wanted)) throw noBlock(source.name, offset)
        if (found.every((word, i) => word === wanted[i])) continue
        const size = rawSizeAt(page, index)
        await blocks.read({
          blockOffset: offset,
          storedSize: page.storedSizes[index] ?? 0,
          rawSize: size,
          innerOffset: 0,
          blockSize: size,
          digest: digestAt(page, index)
        })
      }
    }
  }
}

/** In the word of the plain size: there are several chunks, so the digest of the whole block is not known. */
const isShared = 2 ** 31

/** The whole block of an entry. */
function rowOf(page: PageColumns, index: number): Uint32Array {
  const blockOffset = page.blockOffsets[index] ?? 0
  const row = new Uint32Array(rowWords)
  row[0] = blockOffset % 2 ** 32
  row[1] = Math.floor(blockOffset / 2 ** 32)
  row[2] = page.storedSizes[index] ?? 0
  row[3] = blockSizeAt(page, index)
  if (row[3] !== rawSizeAt(page, index)) row[3] += isShared
  new Uint8Array(row.buffer).set(page.digests.subarray(index * digestSize, (index + 1) * digestSize), 16)
  return row
}

/** Offset, stored size and plain size. */
function isSamePlace(one: Uint32Array, other: Uint32Array): boolean {
  const sizeOf = (row: Uint32Array): number => (row[3] ?? 0) % isShared
  return one[0] === other[0] && one[1] === other[1] && one[2] === other[2] && sizeOf(one) === sizeOf(other)
}

function noBlock(where: string, offset: number): CorruptError {
  return new CorruptError(
    'BAD_STRUCTURE',
    `${where} is damaged: a repeat names a block at byte ${offset} that is not there, or not of that size`,
    { where, offset }
  )
}
