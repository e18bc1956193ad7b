import { memoryLimits as limits } from '../limits.js'

/** Where in a sequence of chunks the samples lie. */
export interface SamplePlan {
  /** To train on. */
  readonly pieces: readonly PiecePlace[]
  /** To measure by: numbers of whole chunks. No piece is of one of them. */
  readonly heldOut: readonly number[]
}

export interface PiecePlace {
  /** Number of the chunk. */
  readonly chunk: number
  /** Offset in it, and size, in bytes. */
  readonly start: number
  readonly size: number
}

/** At most one chunk in so many is kept from the training. */
const chunksPerHeldOut = 4

/**
 * Spreads the samples evenly over the chunks. Pieces rotate through the chunk, so that beginnings and ends have
 * the same say.
 *
 * @param chunkCount chunks there are
 * @param chunkSize bytes of a chunk
 */
export function planSamples(chunkCount: number, chunkSize: number): SamplePlan {
  const heldOutCount = Math.min(
    limits.heldOutCountMax,
    Math.floor(limits.heldOutSizeMax / chunkSize),
    Math.floor(chunkCount / chunksPerHeldOut)
  )
  const heldOut = Array.from({ length: heldOutCount }, (_, i) => spread(i, heldOutCount, chunkCount))
  const isHeldOut = new Set(heldOut)

  const size = Math.min(limits.samplePieceSize, chunkSize)
  const piecesPerChunk = Math.ceil(chunkSize / size)
  const pieceCount = Math.min(limits.samplePieceCountMax, chunkCount * piecesPerChunk)
  const pieces = Array.from({ length: pieceCount }, (_, i): PiecePlace => {
    const start = (i % piecesPerChunk) * size
    return { chunk: spread(i, pieceCount, chunkCount), start, size: Math.min(size, chunkSize - start) }
  })
  return { pieces: pieces.filter(({ chunk }) => !isHeldOut.has(chunk)), heldOut }
}

/** The i-th of `count` numbers spread evenly from 0 to below `end`. */
function spread(i: number, count: number, end: number): number {
  return Math.floor(((i + 0.5) * end) / count)
}
