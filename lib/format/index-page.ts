import { CorruptError } from '../errors.js'
import { formatLimits as limits } from '../limits.js'
import { readFields, writeFields } from './bytes.js'
import { blockPrefixSize, frameHeaderSize, sealOverhead } from './frame.js'
import { digestSize } from './digest.js'
import { createSharedBlock } from './shared-block.js'

/*
 * Index page: up to 4096 entries of one stream, in stream order, column by column (like bytes beside
 * like bytes, so that Zstd finds them). n entries, of which c are chunks and h = n − c are holes.
 *
 *  0  stream        u8, then 3 zero bytes
 *  4  entryCount    u32  n
 *  8  chunkCount    u32  c
 * 12  streamOffset  u64  of the first entry; each further one starts where the one before it ends
 * 20  digests       c × 32
 *     kinds         n × u8   0 block, 1 repeat, 2 hole
 *     rawSizes      c × u32
 *     holeSizes     h × u64
 *     blockOffsets  c × u48  of the block frame, minus where the previous chunk's block frame ends
 *                            (0 for the first), modulo 2^48: 0 for every chunk that was stored in turn
 *     storedSizes   c × u32  of the whole block frame
 *     innerOffsets  c × u32  where the chunk starts in the block's plain bytes
 */

const kinds = ['block', 'repeat', 'hole'] as const
const fixedSize = 20
const storedSizeMax = sealOverhead + frameHeaderSize + blockPrefixSize + limits.chunkSizeMax

/** One run of a stream's bytes. Sizes and offsets in bytes. */
export type Entry = ChunkEntry | HoleEntry

export interface ChunkEntry {
  /** `repeat`: the block was stored for an earlier chunk. */
  readonly kind: 'block' | 'repeat'
  readonly rawSize: number
  readonly digest: Uint8Array
  readonly blockOffset: number
  readonly storedSize: number
  readonly innerOffset: number
}

export interface HoleEntry {
  readonly kind: 'hole'
  readonly rawSize: number
}

export interface IndexPage {
  readonly stream: number
  readonly streamOffset: number
  readonly entries: readonly Entry[]
}

const isChunk = (entry: Entry): entry is ChunkEntry => entry.kind !== 'hole'

export function encodeIndexPage(page: IndexPage): Uint8Array {
  const chunks = page.entries.filter(isChunk)
  const holes = page.entries.filter((entry) => !isChunk(entry))
  const size = fixedSize + page.entries.length + chunks.length * (digestSize + 18) + holes.length * 8
  const fields = writeFields(size)
    .u8(page.stream)
    .zeros(3)
    .u32(page.entries.length)
    .u32(chunks.length)
    .u64(page.streamOffset)
  for (const chunk of chunks) fields.bytes(chunk.digest)
  for (const entry of page.entries) fields.u8(kinds.indexOf(entry.kind))
  for (const chunk of chunks) fields.u32(chunk.rawSize)
  for (const hole of holes) fields.u64(hole.rawSize)
  let expected = 0
  for (const chunk of chunks) {
    fields.u48((chunk.blockOffset - expected + 2 ** 48) % 2 ** 48)
    expected = chunk.blockOffset + chunk.storedSize
  }
  for (const chunk of chunks) fields.u32(chunk.storedSize)
  for (const chunk of chunks) fields.u32(chunk.innerOffset)
  return fields.done()
}

/**
 * A page as columns with an element for each entry: a fraction of the memory that entries take, and searched
 * without a walk. What a hole has not is 0.
 */
export interface PageColumns {
  readonly stream: number
  readonly streamOffset: number
  readonly entryCount: number
  /** Where each entry starts in the stream, and last where the page's bytes end. */
  readonly starts: Float64Array
  /** Index in `kinds`. */
  readonly kinds: Uint8Array
  /** 32 bytes each. */
  readonly digests: Uint8Array
  readonly blockOffsets: Float64Array
  readonly storedSizes: Uint32Array
  readonly innerOffsets: Uint32Array
}

/** Bytes that the columns of a page of `entryCount` entries take. */
export function columnsSize(entryCount: number): number {
  return entryCount * (8 + 1 + digestSize + 8 + 4 + 4) + 8
}

/** Bytes of the stream that an entry stands for. */
export function rawSizeAt({ starts }: PageColumns, index: number): number {
  return (starts[index + 1] ?? 0) - (starts[index] ?? 0)
}

/**
 * Plain bytes of the whole block that holds a chunk: adjacent entries of kind block may share one, and a repeat is all
 * of its block. A frame that decodes to any other size is not the one that the page means.
 */
export function blockSizeAt(page: PageColumns, index: number): number {
  const { kinds: column, blockOffsets, innerOffsets } = page
  let last = index
  if (column[index] === 0)
    while (column[last + 1] === 0 && blockOffsets[last + 1] === blockOffsets[index]) last += 1
  return (innerOffsets[last] ?? 0) + rawSizeAt(page, last)
}

/** Number of the entry of kind block whose frame starts at that offset of the file, its first chunk, by walk. */
export function findBlock(
  { kinds: column, blockOffsets, entryCount }: PageColumns,
  offset: number
): number | undefined {
  for (let index = 0; index < entryCount; index++)
    if (column[index] === 0 && blockOffsets[index] === offset) return index
  return undefined
}

/** The same for all entries of a page; 0 for holes. */
export function blockSizesOf({ entries }: IndexPage): Uint32Array {
  const sizes = new Uint32Array(entries.length)
  for (let index = entries.length - 1; index >= 0; index--) {
    const entry = entries[index]
    const next = entries[index + 1]
    if (entry === undefined || entry.kind === 'hole') continue
    const isShared =
      entry.kind === 'block' && next?.kind === 'block' && next.blockOffset === entry.blockOffset
    sizes[index] = isShared ? (sizes[index + 1] ?? 0) : entry.innerOffset + entry.rawSize
  }
  return sizes
}

export const isHoleAt = ({ kinds: column }: PageColumns, index: number): boolean => column[index] === 2
export const isRepeatAt = ({ kinds: column }: PageColumns, index: number): boolean => column[index] === 1

/** A copy: a view would take the whole column along when it is sent to a thread. */
export function digestAt({ digests }: PageColumns, index: number): Uint8Array {
  return digests.slice(index * digestSize, (index + 1) * digestSize)
}

/** The entry of that number. */
export function entryAt(page: PageColumns, index: number): Entry {
  const kind = kinds[page.kinds[index] ?? -1]
  if (kind === undefined) throw new RangeError(`the page has no entry ${index}`)
  const at = (column: ArrayLike<number>): number => column[index] ?? 0
  const rawSize = (page.starts[index + 1] ?? 0) - at(page.starts)
  if (kind === 'hole') return { kind, rawSize }
  return {
    kind,
    rawSize,
    digest: digestAt(page, index),
    blockOffset: at(page.blockOffsets),
    storedSize: at(page.storedSizes),
    innerOffset: at(page.innerOffsets)
  }
}

/** Whether a page holds these entries and no others. */
export function holdsEntries(page: PageColumns, { stream, streamOffset, entries }: IndexPage): boolean {
  let start = streamOffset
  const isAt = (entry: Entry, index: number): boolean => {
    const isSame = kinds[page.kinds[index] ?? -1] === entry.kind && page.starts[index] === start
    start += entry.rawSize
    if (!isSame || entry.kind === 'hole') return isSame
    return (
      page.blockOffsets[index] === entry.blockOffset &&
      page.storedSizes[index] === entry.storedSize &&
      page.innerOffsets[index] === entry.innerOffset &&
      entry.digest.length === digestSize &&
      entry.digest.every((byte, i) => page.digests[index * digestSize + i] === byte)
    )
  }
  const isWhole = page.stream === stream && page.entryCount === entries.length
  return isWhole && entries.every(isAt) && page.starts[page.entryCount] === start
}

/** Number of the entry that holds `offset` of the stream, by binary search. */
export function findEntry({ starts, entryCount }: PageColumns, offset: number): number {
  let low = 0
  let high = entryCount
  while (low < high) {
    const middle = (low + high) >> 1
    if ((starts[middle] ?? 0) > offset) high = middle
    else low = middle + 1
  }
  return Math.max(0, low - 1)
}

/** The page with its entries as objects, for whoever walks it once. */
export function entriesOf(page: PageColumns): IndexPage {
  const { stream, streamOffset, entryCount } = page
  return { stream, streamOffset, entries: Array.from({ length: entryCount }, (_, i) => entryAt(page, i)) }
}

/** @throws CorruptError BAD_STRUCTURE when counts, kinds or sizes are impossible */
export function decodeIndexPage(bytes: Uint8Array, where: string): IndexPage {
  return entriesOf(decodePageColumns(bytes, where))
}

/** @throws CorruptError BAD_STRUCTURE as `decodeIndexPage` */
export function decodePageColumns(bytes: Uint8Array, where: string): PageColumns {
  const fields = readFields(bytes, where)
  const stream = fields.u8()
  fields.bytes(3)
  const entryCount = fields.u32()
  const chunkCount = fields.u32()
  const streamOffset = fields.u64()
  if (entryCount === 0 || entryCount > limits.pageEntryCountMax || chunkCount > entryCount) {
    throw broken(where, `it claims ${entryCount} entries`)
  }
  const digests = fields.bytes(chunkCount * digestSize)
  const entryKinds = fields.bytes(entryCount)
  const rawSizes = Uint32Array.from({ length: chunkCount }, () => fields.u32())
  const holeSizes = Float64Array.from({ length: entryCount - chunkCount }, () => fields.u64())
  const blockOffsets = Float64Array.from({ length: chunkCount }, () => fields.u48())
  const storedSizes = Uint32Array.from({ length: chunkCount }, () => fields.u32())
  const innerOffsets = Uint32Array.from({ length: chunkCount }, () => fields.u32())
  fields.end()

  const page: PageColumns = {
    stream,
    streamOffset,
    entryCount,
    starts: new Float64Array(entryCount + 1),
    kinds: entryKinds.slice(),
    digests: new Uint8Array(entryCount * digestSize),
    blockOffsets: new Float64Array(entryCount),
    storedSizes: new Uint32Array(entryCount),
    innerOffsets: new Uint32Array(entryCount)
  }
  let chunk = 0
  let hole = 0
  const shared = createSharedBlock()
  let expected = 0
  let start = streamOffset
  for (let index = 0; index < entryCount; index++) {
    const kind = kinds[entryKinds[index] ?? -1]
    if (kind === undefined) throw broken(where, `entry ${index} has kind ${entryKinds[index] ?? -1}`)
    page.starts[index] = start
    if (kind === 'hole') {
      const rawSize = holeSizes[hole++]
      if (rawSize === undefined || rawSize === 0) throw broken(where, `hole ${hole} has no size`)
      start += rawSize
      shared.end()
      continue
    }
    const rawSize = rawSizes[chunk]
    const delta = blockOffsets[chunk]
    const storedSize = storedSizes[chunk]
    const innerOffset = innerOffsets[chunk]
    chunk += 1
    if (
      rawSize === undefined ||
      delta === undefined ||
      storedSize === undefined ||
      innerOffset === undefined
    ) {
      throw broken(where, 'its counts disagree with its kinds')
    }
    if (storedSize <= frameHeaderSize + blockPrefixSize || storedSize > storedSizeMax)
      throw broken(where, `chunk ${chunk} claims a block of ${storedSize} bytes`)
    if (rawSize === 0 || rawSize > limits.chunkSizeMax || innerOffset > limits.chunkSizeMax - rawSize) {
      throw broken(where, `chunk ${chunk} claims ${rawSize} bytes`)
    }
    const blockOffset = (expected + delta) % 2 ** 48
    expected = blockOffset + storedSize
    const why = shared.take({ kind, rawSize, blockOffset, storedSize, innerOffset })
    if (why !== undefined) throw broken(where, `chunk ${chunk} ${why}`)
    start += rawSize
    page.digests.set(digests.subarray((chunk - 1) * digestSize, chunk * digestSize), index * digestSize)
    page.blockOffsets[index] = blockOffset
    page.storedSizes[index] = storedSize
    page.innerOffsets[index] = innerOffset
  }
  page.starts[entryCount] = start
  if (start > limits.streamSizeMax) throw broken(where, 'its entries reach past 2^53')
  if (chunk !== chunkCount) throw broken(where, 'its counts disagree with its kinds')
  return page
}

function broken(where: string, why: string): CorruptError {
  return new CorruptError('BAD_STRUCTURE', `${where} is damaged: ${why}`, { where })
}
