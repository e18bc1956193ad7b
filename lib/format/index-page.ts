import { CorruptError } from '../errors.js'
import { formatLimits as limits } from '../limits.js'
import { readFields, writeFields } from './bytes.js'
import { blockPrefixSize, frameHeaderSize, sealOverhead } from './frame.js'
import { digestSize } from './digest.js'

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

/** @throws CorruptError BAD_STRUCTURE when counts, kinds or sizes are impossible */
export function decodeIndexPage(bytes: Uint8Array, where: string): IndexPage {
  const fields = readFields(bytes, where)
  const stream = fields.u8()
  fields.bytes(3)
  const entryCount = fields.u32()
  const chunkCount = fields.u32()
  const streamOffset = fields.u64()
  if (entryCount === 0 || entryCount > limits.pageEntryCountMax || chunkCount > entryCount) {
    throw broken(where, `it claims ${entryCount} entries`)
  }
  const digests = Array.from({ length: chunkCount }, () => fields.bytes(digestSize))
  const entryKinds = fields.bytes(entryCount)
  const rawSizes = Array.from({ length: chunkCount }, () => fields.u32())
  const holeSizes = Array.from({ length: entryCount - chunkCount }, () => fields.u64())
  const blockOffsets = Array.from({ length: chunkCount }, () => fields.u48())
  const storedSizes = Array.from({ length: chunkCount }, () => fields.u32())
  const innerOffsets = Array.from({ length: chunkCount }, () => fields.u32())
  fields.end()

  const entries: Entry[] = []
  let chunk = 0
  let hole = 0
  let expected = 0
  for (const number of entryKinds) {
    const kind = kinds[number]
    if (kind === undefined) throw broken(where, `entry ${entries.length} has kind ${number}`)
    if (kind === 'hole') {
      const rawSize = holeSizes[hole++]
      if (rawSize === undefined || rawSize === 0) throw broken(where, `hole ${hole} has no size`)
      entries.push({ kind, rawSize })
      continue
    }
    const digest = digests[chunk]
    const rawSize = rawSizes[chunk]
    const delta = blockOffsets[chunk]
    const storedSize = storedSizes[chunk]
    const innerOffset = innerOffsets[chunk]
    chunk += 1
    if (
      digest === undefined ||
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
    entries.push({ kind, rawSize, digest, blockOffset, storedSize, innerOffset })
  }
  if (chunk !== chunkCount) throw broken(where, 'its counts disagree with its kinds')
  return { stream, streamOffset, entries }
}

function broken(where: string, why: string): CorruptError {
  return new CorruptError('BAD_STRUCTURE', `${where} is damaged: ${why}`, { where })
}
