import { defineStage, orderedParts, type StageParts } from '../../transforms/stage.js'
import { createCutter, type Candidates, type Cutter } from '../chunking/candidates.js'
import { blake3, digestSize } from '../format/digest.js'
import { memoryLimits } from '../limits.js'
import type { WorkerPool } from '../workers/pool.js'
import type { DigestedRun, Run } from '../workers/survey-tasks.js'
import type { Batch } from './batches.js'
import { levelMin, pieceSize, ways } from './ways.js'

interface CutBatch {
  readonly batch: Batch
  /** Fixed chunks of the smallest size. */
  readonly pieces: DigestedRun
  /** In the order of `ways`; nothing where chunks are fixed. */
  readonly cuts: readonly (Run | undefined)[]
}

/** The chunks that end in a batch, in the order of `ways`. */
export interface ChunkedBatch {
  readonly batch: Batch
  readonly chunked: readonly DigestedRun[]
}

/**
 * Batch → CutBatch. Holds threads + 2 batches.
 *
 * @param onScan gets the milliseconds that finding cuts took
 */
export const cutStage = defineStage('cutter', cutParts)

function cutParts(pool: WorkerPool, onScan: (elapsedMs: number) => void): StageParts<Batch, CutBatch> {
  const cut = createCutters()
  return orderedParts({
    work: async (batch: Batch) => {
      const { bytes, headSize: start } = batch
      const pieces = { start, sizes: evenSizes(bytes.length - start, pieceSize) }
      return { batch, ...(await pool.run('scanBatch', { bytes, start, levelMin, pieces })) }
    },
    give: ({ batch, pieces, candidates, elapsedMs }): CutBatch => {
      onScan(elapsedMs)
      return { batch, pieces, cuts: cut(batch, candidates) }
    },
    window: memoryLimits.runsInWork(pool.size)
  })
}

/** CutBatch → ChunkedBatch. Holds threads + 2 batches. */
export const digestStage = defineStage('digester', digestParts)

function digestParts(pool: WorkerPool): StageParts<CutBatch, ChunkedBatch> {
  return orderedParts({
    work: async ({ batch, pieces, cuts }: CutBatch): Promise<ChunkedBatch> => {
      const runs = cuts.filter((run) => run !== undefined)
      const digested = (await pool.run('digestRuns', { bytes: batch.bytes, runs })).values()
      const chunked = ways.map(({ cdc, settings }) =>
        cdc ? digested.next().value : joinPieces(pieces, settings.chunkSizeAvg)
      )
      return { batch, chunked: chunked.filter((run) => run !== undefined) }
    },
    give: (chunked) => chunked,
    window: memoryLimits.runsInWork(pool.size)
  })
}

/** Cuts batch after batch, with what was left of the one before; a region begins anew. */
function createCutters(): (batch: Batch, candidates: Candidates) => (Run | undefined)[] {
  const open = (start: number): (Cutter | undefined)[] =>
    ways.map(({ cdc, settings: { chunkSizeMin: min, chunkSizeAvg: avg, chunkSizeMax: max } }) =>
      cdc ? createCutter({ min, avg, max }, start) : undefined
    )
  let cutters = open(0)
  return ({ bytes, headSize, offset, isLast }, candidates) => {
    const zero = offset - headSize
    const end = zero + bytes.length
    const runs = cutters.map((cutter) => {
      const { start, cuts } = cutter?.cut(candidates, zero, end, isLast) ?? {}
      if (start === undefined || cuts === undefined) return undefined
      return { start: start - zero, sizes: Uint32Array.from(cuts, (cut, i) => cut - (cuts[i - 1] ?? start)) }
    })
    if (isLast) cutters = open(end)
    return runs
  }
}

/** The digest of a chunk of several pieces is that of their digests: all that is asked of it is which are the same. */
function joinPieces(pieces: DigestedRun, chunkSize: number): DigestedRun {
  const perChunk = chunkSize / pieceSize
  const count = Math.ceil(pieces.isHole.length / perChunk)
  const total = pieces.sizes.reduce((sum, size) => sum + size, 0)
  const digests = new Uint8Array(count * digestSize)
  const isHole = Array.from({ length: count }, (_, i) => {
    const first = i * perChunk
    const end = Math.min(first + perChunk, pieces.isHole.length)
    digests.set(blake3(pieces.digests.subarray(first * digestSize, end * digestSize)), i * digestSize)
    return pieces.isHole.slice(first, end).every(Boolean)
  })
  return { start: pieces.start, sizes: evenSizes(total, chunkSize), digests, isHole }
}

function evenSizes(total: number, size: number): Uint32Array {
  return Uint32Array.from({ length: Math.ceil(total / size) }, (_, i) => Math.min(size, total - i * size))
}
