import { memoryLimits } from '../limits.js'

/** A piece of shared memory, handed out by a slab pool. */
export interface Slab {
  readonly bytes: Uint8Array
  /** Gives the memory back for reuse; nobody may touch `bytes` afterwards. A second call does nothing. */
  readonly release: () => void
}

export interface SlabPool {
  /** @param size bytes wanted; the contents are whatever the last user left */
  acquire(size: number): Slab
}

/** Room for a batch and the frame headers of its chunks, unless chunks are tiny. */
const slabSize = memoryLimits.batchSize + memoryLimits.batchSize / 16

/**
 * Reuses slabs, because fresh pages cost as much as compressing them. Keeps at most `slabsKept` free ones;
 * how many are out at once is bounded by the windows of the stages that hold them. A larger slab than the
 * usual is made for the occasion and not kept.
 */
export function createSlabPool(): SlabPool {
  const free: SharedArrayBuffer[] = []
  return {
    acquire(size) {
      const isUsual = size <= slabSize
      const memory = (isUsual ? free.pop() : undefined) ?? new SharedArrayBuffer(isUsual ? slabSize : size)
      let isOut = true
      return {
        bytes: new Uint8Array(memory, 0, size),
        release() {
          if (isOut && isUsual && free.length < memoryLimits.slabsKept) free.push(memory)
          isOut = false
        }
      }
    }
  }
}
