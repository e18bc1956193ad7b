import { isSharedArrayBuffer } from 'node:util/types'
import { UsageError } from '../errors.js'
import { memoryLimits } from '../limits.js'
import { pageSkew } from '../memory.js'
import { inlinePool, type WorkerPool } from './pool.js'

/** A piece of shared memory, handed out by a slab pool. */
export interface Slab {
  readonly bytes: Uint8Array
  /** Bytes in front of them, in the same memory, that are the holder's as well. */
  readonly room: number
  /** Gives the memory back for reuse; nobody may touch `bytes` afterwards. A second call does nothing. */
  readonly release: () => void
}

export interface SlabPool {
  /**
   * @param size bytes wanted; the contents are whatever the last user left
   * @param room bytes wanted in front of them; default none
   */
  acquire(size: number, room?: number): Slab
}

/**
 * A slab that the tasks of a pool write to: threads write to shared memory only, and to a copy of any other.
 *
 * @throws UsageError
 */
export function acquireFor(pool: WorkerPool, slabs: SlabPool, size: number): Slab {
  const slab = slabs.acquire(size)
  if (pool !== inlinePool && !isSharedArrayBuffer(slab.bytes.buffer))
    throw new UsageError('with a pool of threads, slabs must be shared memory, as createSlabPool() gives it')
  return slab
}

/** Slabs that can cross a stage of plain bytes: whoever gets the bytes of one can take it over. */
export interface BatchSlabs extends SlabPool {
  /** The slab whose `bytes` these are, the very same object; `undefined` for any other bytes. */
  slabOf(bytes: Uint8Array): Slab | undefined
}

/**
 * Reuses slabs, because fresh pages cost as much as compressing them, and shared memory that is dropped is not freed
 * soon. All have one size, the largest that was asked for; `slabsKept` free ones are kept. How many are out at once is
 * bounded by the windows of the stages that hold them.
 *
 * @param batchSize bytes of a batch: at first a slab holds one, and a quarter more for the frame headers of its chunks,
 *   or for an unfinished chunk before it
 */
export function createSlabPool(batchSize: number = memoryLimits.batchSize): BatchSlabs {
  const step = batchSize / 4
  let slabSize = batchSize + step
  let free: SharedArrayBuffer[] = []
  const out = new WeakMap<Uint8Array, Slab>()
  const isLargeEnough = (memory: SharedArrayBuffer): boolean => memory.byteLength >= pageSkew + slabSize
  return {
    acquire(size, room = 0) {
      if (room + size > slabSize) {
        slabSize = Math.ceil((room + size) / step) * step
        free = []
      }
      const memory = free.pop() ?? new SharedArrayBuffer(pageSkew + slabSize)
      let isOut = true
      const slab: Slab = {
        bytes: new Uint8Array(memory, pageSkew + room, size),
        room,
        release() {
          if (isOut && isLargeEnough(memory) && free.length < memoryLimits.slabsKept) free.push(memory)
          isOut = false
        }
      }
      out.set(slab.bytes, slab)
      return slab
    },
    slabOf: (bytes) => out.get(bytes)
  }
}

/** Memory that other threads can see. */
export const sharedMemory = (size: number): ArrayBufferLike => new SharedArrayBuffer(size)

/** Memory of this thread only: `set` copies it several times as fast as shared memory. */
export const ownMemory = (size: number): ArrayBufferLike => new ArrayBuffer(size)

/** Memory comes in pages. */
const pageSize = 4096

/**
 * Slabs for a moment: any free one that is large enough serves, and of those that are free the largest are kept. Sizes
 * that vary would else leave slabs of each size behind, and memory that is dropped is not freed soon.
 *
 * @param keptSizeMax bytes of free slabs that are kept for reuse
 */
export function createFittingSlabs(keptSizeMax: number, newMemory = sharedMemory): SlabPool {
  /** Smallest first. */
  const free: ArrayBufferLike[] = []
  let freeSize = 0
  /** Gives up smaller free ones until one of that size can be kept, if that is enough. */
  const makeRoom = (size: number): boolean => {
    if (size > keptSizeMax) return false
    while (freeSize + size > keptSizeMax) {
      const smallest = free[0]
      if (smallest === undefined || smallest.byteLength >= size) return false
      freeSize -= smallest.byteLength
      free.shift()
    }
    return true
  }
  return {
    acquire(size, room = 0) {
      const wanted = room + size
      const at = free.findIndex(({ byteLength }) => byteLength >= wanted)
      const [kept] = at === -1 ? [] : free.splice(at, 1)
      if (kept !== undefined) freeSize -= kept.byteLength
      const memory = kept ?? newMemory(Math.ceil(wanted / pageSize) * pageSize)
      let isOut = true
      return {
        bytes: new Uint8Array(memory, room, size),
        room,
        release() {
          if (!isOut) return
          isOut = false
          if (!makeRoom(memory.byteLength)) return
          freeSize += memory.byteLength
          const behind = free.findIndex(({ byteLength }) => byteLength >= memory.byteLength)
          free.splice(behind === -1 ? free.length : behind, 0, memory)
        }
      }
    }
  }
}
