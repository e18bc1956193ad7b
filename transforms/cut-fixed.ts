import { memoryLimits } from '../lib/limits.js'
import type { BatchSlabs } from '../lib/workers/slabs.js'
import type { CutChunks, StreamCutter } from './chunker.js'
import { gatherPieces, type Piece } from './gather-pieces.js'

/**
 * Chunks of `size` bytes; the last one of a stream may be shorter.
 *
 * Holds one batch.
 */
export function createFixedCutter(size: number, slabs: BatchSlabs): StreamCutter {
  const pieces = gatherPieces(Math.max(1, Math.floor(memoryLimits.batchSize / size)) * size, slabs)

  const cut = ({ slab: { bytes, release }, size: length }: Piece): CutChunks => {
    const sizes = new Uint32Array(Math.ceil(length / size)).fill(size)
    if (length % size > 0) sizes[sizes.length - 1] = length % size
    return { bytes: bytes.subarray(0, length), sizes, release }
  }

  return {
    *take(bytes) {
      for (const piece of pieces.take(bytes)) yield cut(piece)
    },
    *end() {
      const piece = pieces.end()
      if (piece !== undefined) yield cut(piece)
    }
  }
}
