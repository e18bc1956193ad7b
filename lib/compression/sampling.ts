import { memoryLimits as limits } from '../limits.js'

/** Where in a sequence of chunks the samples lie. */
export interface SamplePlan {
  /** To train on. */
  readonly pieces: readonly PiecePlace[]
  /** To measure by: number of the first of two adjacent chunks. No piece is of one of them. */
  readonly pairs: readonly number[]
}

export interface PiecePlace {
  /** Number of the chunk. */
  readonly chunk: number
  /** Offset in it, and size, in bytes. */
  readonly start: number
  readonly size: number
}

/** At most one chunk in four is kept from the training. */
const chunksPerPair = 8

/**
 * Spreads the samples evenly over the chunks. Pieces rotate through the chunk, so that beginnings and ends have
 * the same say.
 *
 * @param chunkCount chunks there are
 * @param chunkSize bytes of a chunk
 */
export function planSamples(chunkCount: number, chunkSize: number): SamplePlan {
  const pairCount = Math.min(
    limits.heldOutPairCountMax,
    Math.floor(limits.heldOutSizeMax / (2 * chunkSize)),
    Math.floor(chunkCount / chunksPerPair)
  )
  const pairs = Array.from({ length: pairCount }, (_, i) => spread(i, pairCount, chunkCount - 1))
  const heldOut = new Set(pairs.flatMap((first) => [first, first + 1]))

  const size = Math.min(limits.samplePieceSize, chunkSize)
  const piecesPerChunk = Math.ceil(chunkSize / size)
  const pieceCount = Math.min(limits.samplePieceCountMax, chunkCount * piecesPerChunk)
  const pieces = Array.from({ length: pieceCount }, (_, i): PiecePlace => {
    const start = (i % piecesPerChunk) * size
    return { chunk: spread(i, pieceCount, chunkCount), start, size: Math.min(size, chunkSize - start) }
  })
  return { pieces: pieces.filter(({ chunk }) => !heldOut.has(chunk)), pairs }
}

/** The i-th of `count` numbers spread evenly from 0 to below `end`. */
function spread(i: number, count: number, end: number): number {
  return Math.floor(((i + 0.5) * end) / count)
}
