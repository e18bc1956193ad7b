import { number, oneOf, slabPool, workerPool, checkOptions, type OptionTable } from '../lib/check-options.js'
import { createDictionaryUse } from '../lib/compression/dictionary-use.js'
import { blockPrefixSize, codecNames, frameHeaderSize, type CodecName } from '../lib/format/frame.js'
import { memoryLimits } from '../lib/limits.js'
import { checkLevel } from '../lib/profiles.js'
import {
  type BlockBatch,
  type DictionaryRecord,
  type FilteredBatch,
  type StoredChunk,
  type UniqueChunk
} from '../lib/records.js'
import { inlinePool, type WorkerPool } from '../lib/workers/pool.js'
import { blake3 } from '../lib/format/digest.js'
import { shareDictionary, type SharedDictionary } from '../lib/workers/prepared.js'
import { acquireFor, createSlabPool, type SlabPool } from '../lib/workers/slabs.js'
import { defineStage, expectRecords, orderedParts, type StageParts } from './stage.js'

export interface CompressorOptions {
  /** `raw` stores everything as it is. Default `lz4`. */
  readonly codec?: CodecName
  /** Zstd's level, 1 to 19; default 3. LZ4 has none. */
  readonly level?: number
  readonly pool?: WorkerPool
  readonly slabs?: SlabPool
}

const optionTable: OptionTable<CompressorOptions> = {
  codec: oneOf(...codecNames),
  level: number,
  pool: workerPool,
  slabs: slabPool
}

const frameOverhead = frameHeaderSize + blockPrefixSize

/**
 * FilteredBatch → BlockBatch. Turns each unique chunk into a block frame, compressed, or raw where that
 * is not smaller; holes and repeats pass. Batches are compressed in parallel and leave in order. The plain
 * bytes are released here: nobody needs them further on.
 *
 * A DictionaryRecord passes; Zstd uses it for the batches behind it, as long as trials among them show that it
 * helps (`createDictionaryUse`).
 *
 * Holds the batches in work (threads + 1), plain and compressed.
 */
export const compressor = defineStage('compressor', compressorParts)

function compressorParts(
  options: CompressorOptions = {}
): StageParts<FilteredBatch | DictionaryRecord, BlockBatch | DictionaryRecord> {
  checkOptions('compressor()', options, optionTable)
  const { codec = 'lz4', level = 3, pool = inlinePool, slabs = createSlabPool() } = options
  if (codec === 'zstd') checkLevel(level)
  let dictionary: SharedDictionary | undefined
  const planBatch = createDictionaryUse()

  const compress = async (batch: FilteredBatch): Promise<BlockBatch> => {
    const { stream, streamOffset } = batch
    const unique = batch.chunks.filter((chunk): chunk is UniqueChunk => chunk.kind === 'unique')
    if (unique.length === 0) {
      batch.release?.()
      return {
        kind: 'blocks',
        stream,
        streamOffset,
        frames: new Uint8Array(0),
        chunks: batch.chunks as StoredChunk[]
      }
    }
    const slab = acquireFor(
      pool,
      slabs,
      unique.reduce((sum, chunk) => sum + chunk.rawSize + frameOverhead, 0)
    )
    const plan = dictionary === undefined ? undefined : planBatch()
    const { storedSizes, savedSize } = await pool.run('compressChunks', {
      bytes: batch.bytes,
      starts: Uint32Array.from(unique, ({ start }) => start),
      rawSizes: Uint32Array.from(unique, ({ rawSize }) => rawSize),
      stream,
      streamOffset,
      codec,
      level,
      dictionary,
      usesDictionary: plan?.usesDictionary === true,
      isTrial: plan?.isTrial === true,
      frames: slab.bytes
    })
    plan?.tell(savedSize)
    batch.release?.()
    return {
      kind: 'blocks',
      stream,
      streamOffset,
      frames: slab.bytes,
      chunks: placeBlocks(batch, storedSizes),
      release: slab.release
    }
  }
  /** Called in order, so a dictionary is there before the first batch behind it. */
  const work = (record: FilteredBatch | DictionaryRecord): Promise<BlockBatch | DictionaryRecord> => {
    if (record.kind === 'filtered') return compress(record)
    if (codec === 'zstd') dictionary = shareDictionary(record.bytes, blake3(record.bytes).toString('hex'))
    return Promise.resolve(record)
  }
  return orderedParts({
    check: expectRecords('compressor()', 'filtered', 'dictionary'),
    work,
    give: (record) => record,
    window: memoryLimits.batchesInWork(pool.size)
  })
}

/** The batch's chunks, the unique ones with their frames' places. */
function placeBlocks(batch: FilteredBatch, storedSizes: readonly number[]): StoredChunk[] {
  let start = 0
  let index = 0
  return batch.chunks.map((chunk) => {
    if (chunk.kind !== 'unique') return chunk
    const storedSize = storedSizes[index++] ?? 0
    start += storedSize
    return {
      kind: 'block',
      rawSize: chunk.rawSize,
      digest: chunk.digest,
      start: start - storedSize,
      storedSize
    }
  })
}
