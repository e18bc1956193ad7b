import { toBytes, type BytesLike } from '../lib/bytes-of.js'
import { checkOptions, number, oneOf, slabPool, workerPool, type OptionTable } from '../lib/check-options.js'
import { LimitError } from '../lib/errors.js'
import { chunkerNames, type ChunkerName } from '../lib/format/header.js'
import { formatLimits } from '../lib/limits.js'
import { checkChunkSizes, chunkSizeBounds } from '../lib/profiles.js'
import { isStreamStart, type ChunkBatch, type StreamStart } from '../lib/records.js'
import { inlinePool, type WorkerPool } from '../lib/workers/pool.js'
import { createSlabPool, type BatchSlabs } from '../lib/workers/slabs.js'
import { createFastCdcCutter } from './cut-fastcdc.js'
import { createFixedCutter } from './cut-fixed.js'
import { defineStage, type StageParts } from './stage.js'

export interface ChunkerOptions {
  /** `fixed`: chunks of `avg` bytes. `fastcdc`: boundaries from content. Default `fixed`. */
  readonly chunker?: ChunkerName
  /** Bytes, 512 ≤ min ≤ avg ≤ max ≤ 4 MiB. Default avg 64 KiB, min a quarter, max twice of it. */
  readonly min?: number
  readonly avg?: number
  readonly max?: number
  /** Number of the stream that the bytes belong to until a StreamStart says otherwise. Default 0. */
  readonly stream?: number
  /** Searches for boundaries in content; default on this thread. */
  readonly pool?: WorkerPool
  readonly slabs?: BatchSlabs
}

const optionTable: OptionTable<ChunkerOptions> = {
  chunker: oneOf(...chunkerNames),
  min: number,
  avg: number,
  max: number,
  stream: number,
  pool: workerPool,
  slabs: slabPool
}

/** Chunks of one stream, back to back, that are cut for good. */
export type CutChunks = Pick<ChunkBatch, 'bytes' | 'sizes' | 'release'>

/** Cuts the bytes of one stream after another. */
export interface StreamCutter {
  /** Takes the next bytes of the stream; gives the chunks that are certain. */
  take(bytes: Uint8Array): Iterable<CutChunks> | AsyncIterable<CutChunks>
  /** Gives what is left of the stream; what is taken next begins another. */
  end(): Iterable<CutChunks> | AsyncIterable<CutChunks>
}

/**
 * Bytes → ChunkBatch. Takes views and buffers of bytes, however cut, strings (as UTF-8), and StreamStart records; gives
 * the chunks of about 2 MiB at a time, in order. Chunks and batches depend on the bytes alone, not on how they
 * arrive. Anything else is a SourceError.
 *
 * Holds one batch (`cut-fixed.ts`), or one a thread, at least two (`cut-fastcdc.ts`): 2 MiB each, or
 * the largest chunk where that is more.
 */
export const chunker = defineStage('chunker', chunkerParts)

function chunkerParts(options: ChunkerOptions = {}): StageParts<BytesLike | StreamStart, ChunkBatch> {
  checkOptions('chunker()', options, optionTable)
  const { chunker: name = 'fixed', avg = 64 * 1024, pool = inlinePool, slabs = createSlabPool() } = options
  const bounds = chunkSizeBounds(avg)
  const { min = bounds.min, max = bounds.max } = options
  checkChunkSizes(name === 'fixed' ? { min: avg, avg, max: avg } : { min, avg, max })
  const cutter =
    name === 'fixed' ? createFixedCutter(avg, slabs) : createFastCdcCutter({ min, avg, max }, pool, slabs)

  let stream = options.stream ?? 0
  let streamOffset = 0
  let streamSize = 0

  async function* batchesOf(cut: Iterable<CutChunks> | AsyncIterable<CutChunks>): AsyncGenerator<ChunkBatch> {
    for await (const chunks of cut) {
      const batchOffset = streamOffset
      streamOffset += chunks.bytes.length
      yield { kind: 'chunks', stream, streamOffset: batchOffset, ...chunks }
    }
  }

  async function* take(record: BytesLike | StreamStart): AsyncGenerator<ChunkBatch> {
    if (isStreamStart(record)) {
      yield* batchesOf(cutter.end())
      stream = record.stream
      streamOffset = 0
      streamSize = 0
      return
    }
    const bytes = toBytes(record, 'the source')
    streamSize += bytes.length
    if (streamSize > formatLimits.streamSizeMax) throw new LimitError('the source is larger than 2^53 bytes')
    yield* batchesOf(cutter.take(bytes))
  }

  return { take, end: () => batchesOf(cutter.end()) }
}
