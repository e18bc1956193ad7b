import { copyBytes } from '../lib/format/bytes.js'
import { memoryLimits } from '../lib/limits.js'
import type { BatchSlabs, Slab } from '../lib/workers/slabs.js'
import type { CutChunks, StreamCutter } from './chunker.js'

/**
 * Chunks of `size` bytes; the last one of a stream may be shorter. The bytes of a whole slab that chunks fill
 * without a rest become a batch as they are; all others are copied.
 *
 * Holds one batch.
 */
export function createFixedCutter(size: number, slabs: BatchSlabs): StreamCutter {
  const capacity = Math.max(1, Math.floor(memoryLimits.batchSize / size)) * size
  let slab: Slab | undefined
  let filled = 0

  const cut = ({ bytes, release }: Slab, length: number): CutChunks => {
    const sizes = new Uint32Array(Math.ceil(length / size)).fill(size)
    if (length % size > 0) sizes[sizes.length - 1] = length % size
    return { bytes: bytes.subarray(0, length), sizes, release }
  }

  function* end(): Generator<CutChunks> {
    if (slab === undefined || filled === 0) return
    const batch = cut(slab, filled)
    slab = undefined
    filled = 0
    yield batch
  }

  function* take(bytes: Uint8Array): Generator<CutChunks> {
    const whole = slabs.slabOf(bytes)
    if (whole !== undefined && filled === 0 && bytes.length === capacity) {
      yield cut(whole, capacity)
      return
    }
    for (let offset = 0; offset < bytes.length;) {
      slab ??= slabs.acquire(capacity)
      const piece = bytes.subarray(offset, offset + capacity - filled)
      copyBytes(piece, slab.bytes, filled)
      filled += piece.length
      offset += piece.length
      if (filled === capacity) yield* end()
    }
    whole?.release()
  }

  return { take, end }
}
