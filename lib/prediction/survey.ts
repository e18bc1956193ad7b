import { pipeline } from 'node:stream/promises'
import { defineStage, orderedParts, type StageParts } from '../../transforms/stage.js'
import { memoryLimits, predictLimits } from '../limits.js'
import type { Source } from '../source/source.js'
import type { WorkerPool } from '../workers/pool.js'
import type { Measured } from '../workers/survey-tasks.js'
import { planRegions, readBatches, type Batch } from './batches.js'
import { cutStage, digestStage, type ChunkedBatch } from './cutting.js'
import { createTeller, type Tally, type Teller } from './tally.js'
import { ways } from './ways.js'

/** What a source is like, cut into chunks in every way. */
export interface Survey {
  /** Bytes that were read. */
  readonly readSize: number
  /** Of the source; of a pipe, what was read of it. */
  readonly size: number
  /** Whether all of it was read, as far as anybody can tell. */
  readonly isWhole: boolean
  /** In the order of `ways`. */
  readonly tallies: readonly Tally[]
  /** What was measured, in milliseconds for each byte: reading, hole test and digest, finding cuts. */
  readonly readMs: number
  readonly digestMs: number
  readonly scanMs: number
}

export interface SurveyOptions {
  readonly pool: WorkerPool
  readonly signal?: AbortSignal | undefined
  /** Gets every byte that is read, in order. */
  readonly onBytes?: (bytes: Uint8Array) => void
}

/**
 * Reads a source once and cuts it in all ways at the same time: every chunk is tested for zeros and digested, so
 * that holes and repeats are exact as far as is read; compressed are samples only.
 *
 * Holds, with n threads, 3 × (n + 2) batches of 2.5 MiB and two between any two stages, and the digests.
 */
export async function survey(source: Source, options: SurveyOptions): Promise<Survey> {
  const { pool, signal, onBytes } = options
  const regions = planRegions(source)
  const { size = 0 } = source
  const isSizeKnown = size > 0 // files of /proc say 0 and give bytes all the same
  const tellers = ways.map(({ settings }) => createTeller(settings, size))
  let readSize = 0
  let readMs = 0
  let scanMs = 0
  const batches = readBatches(source, regions, (bytes) => {
    readSize += bytes.length
    onBytes?.(bytes)
  })
  const finish = async (results: AsyncIterable<readonly Measured[]>): Promise<void> => {
    for await (const measured of results)
      measured.forEach(({ sizes, elapsedMs }, i) => tellers[i]?.measured(sizes, elapsedMs))
  }
  await pipeline(
    [
      timed(batches, (elapsedMs) => (readMs += elapsedMs)),
      cutStage(pool, (elapsedMs) => (scanMs += elapsedMs)),
      digestStage(pool),
      countStage(tellers),
      measureStage(pool),
      finish
    ] as unknown as NodeJS.ReadWriteStream[], // it takes iterables and functions, too
    signal === undefined ? {} : { signal }
  )
  const perByte = (ms: number, size = readSize): number => (size === 0 ? 0 : ms / size)
  const worked = (task: 'scanBatch' | 'digestRuns'): number => (pool.worked.get(task) ?? 0) * 1000
  // The pieces of fixed chunks once, and the others in each way.
  const digestMs = worked('scanBatch') - scanMs + worked('digestRuns')
  const digestedSize = readSize * (1 + ways.filter(({ cdc }) => cdc).length)
  return {
    readSize,
    size: Math.max(size, readSize),
    isWhole: isSizeKnown ? readSize >= size : readSize < predictLimits.readSizeMax,
    tallies: tellers.map((teller) => teller.tally()),
    readMs: perByte(readMs),
    digestMs: perByte(digestMs, digestedSize),
    scanMs: perByte(scanMs)
  }
}

interface PickedBatch {
  readonly batch: Batch
  /** Chunks to compress, in the order of `ways`. */
  readonly picks: readonly (readonly Uint8Array[])[]
}

/** ChunkedBatch → PickedBatch: asks the tellers, in order. */
const countStage = defineStage('counter', countParts)

function countParts(tellers: readonly Teller[]): StageParts<ChunkedBatch, PickedBatch> {
  const pick = ({ batch, chunked }: ChunkedBatch): PickedBatch => ({
    batch,
    picks: tellers.map((teller, i) => {
      const run = chunked[i]
      if (run === undefined) return []
      const wanted = new Set(teller.count(run, batch.region))
      const picked: Uint8Array[] = []
      let start = run.start
      run.sizes.forEach((size, number) => {
        if (wanted.has(number)) picked.push(batch.bytes.subarray(start, start + size))
        start += size
      })
      return picked
    })
  })
  return { take: (batch) => [pick(batch)] }
}

/** PickedBatch → what the picked chunks take. Gives the bytes back. */
const measureStage = defineStage('measurer', measureParts)

function measureParts(pool: WorkerPool): StageParts<PickedBatch, Measured[]> {
  return orderedParts({
    work: async ({ batch, picks }: PickedBatch): Promise<Measured[]> => {
      const jobs = ways.map(({ settings: { codec, level } }, i) => ({ codec, level, chunks: picks[i] ?? [] }))
      const isWanted = jobs.some(({ chunks }) => chunks.length > 0)
      const measured = isWanted ? await pool.run('measureChunks', jobs) : []
      batch.release()
      return measured
    },
    give: (measured) => measured,
    window: memoryLimits.runsInWork(pool.size)
  })
}

/** The same, and how long each took to come. */
async function* timed<T>(
  items: AsyncGenerator<T, void>,
  onTime: (elapsedMs: number) => void
): AsyncGenerator<T> {
  try {
    for (;;) {
      const start = performance.now()
      const next = await items.next()
      if (next.done === true) return
      onTime(performance.now() - start)
      yield next.value
    }
  } finally {
    await items.return(undefined)
  }
}
