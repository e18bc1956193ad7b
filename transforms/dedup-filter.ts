import { number, workerPool, checkOptions, type OptionTable } from '../lib/check-options.js'
import { createDigestTable, digestWords } from '../lib/dedup/digest-table.js'
import { UsageError } from '../lib/errors.js'
import { memoryLimits } from '../lib/limits.js'
import { type ChunkBatch, type FilteredBatch, type FilteredChunk } from '../lib/records.js'
import { inlinePool, type WorkerPool } from '../lib/workers/pool.js'
import { digestSize } from '../lib/format/digest.js'
import { defineStage, expectRecords, orderedParts, type StageParts } from './stage.js'

export interface DedupFilterOptions {
  /** Unique chunks remembered, 1 to 2^32 − 2; from `dedupCapacity()`. Default 512 MiB's worth. */
  readonly capacity?: number
  /** Runs the digests; default on this thread. */
  readonly pool?: WorkerPool
}

const optionTable: OptionTable<DedupFilterOptions> = { capacity: number, pool: workerPool }

const capacityMax = 2 ** 32 - 2

/**
 * Unique chunks that a dedup table of `memory` bytes remembers, handles included; at least one.
 *
 * @throws UsageError
 */
export function dedupCapacity(memory: number = memoryLimits.dedupMemoryDefault): number {
  if (!(memory >= 0)) throw new UsageError(`the dedup table can't have ${memory} bytes`)
  return Math.max(1, Math.min(Math.floor(memory / memoryLimits.dedupEntrySizeMax), capacityMax))
}

/**
 * ChunkBatch → FilteredBatch. Marks chunks of zeros as holes and chunks seen before as repeats, over all
 * streams. Digests run in parallel; the table is asked in order, so what repeats never depends on timing.
 *
 * Holds the batches in work (threads + 1) and the table, at most 38 bytes a remembered chunk.
 */
export const dedupFilter = defineStage('dedup filter', dedupFilterParts)

function dedupFilterParts(options: DedupFilterOptions = {}): StageParts<ChunkBatch, FilteredBatch> {
  checkOptions('dedupFilter()', options, optionTable)
  const { capacity = dedupCapacity(), pool = inlinePool } = options
  if (!Number.isInteger(capacity) || capacity < 1 || capacity > capacityMax)
    throw new UsageError(`the dedup table can't remember ${capacity} chunks`)
  const table = createDigestTable(capacity)

  const digest = async (
    batch: ChunkBatch
  ): Promise<{ batch: ChunkBatch; digests: Uint8Array; isHole: boolean[] }> => {
    const { bytes, sizes } = batch
    return { batch, ...(await pool.run('digestChunks', { bytes, sizes })) }
  }

  const filter = ({ batch, digests, isHole }: Awaited<ReturnType<typeof digest>>): FilteredBatch => {
    const words = new Uint32Array(digests.buffer, digests.byteOffset, digests.length / 4)
    const chunks: FilteredChunk[] = []
    let start = 0
    batch.sizes.forEach((rawSize, i) => {
      const digest = digests.subarray(i * digestSize, (i + 1) * digestSize)
      if (isHole[i] === true) {
        chunks.push({ kind: 'hole', rawSize })
      } else {
        const ordinal = table.findOrAdd(words, i * digestWords)
        chunks.push(
          ordinal === -1
            ? { kind: 'unique', start, rawSize, digest }
            : { kind: 'repeat', ordinal, rawSize, digest }
        )
      }
      start += rawSize
    })
    const { stream, streamOffset, bytes, release } = batch
    return {
      kind: 'filtered',
      stream,
      streamOffset,
      bytes,
      chunks,
      ...(release === undefined ? {} : { release })
    }
  }

  return orderedParts({
    check: expectRecords('dedupFilter()', 'chunks'),
    work: digest,
    give: filter,
    window: memoryLimits.batchesInWork(pool.size)
  })
}
