import { serveLimits } from '../limits.js'

/** Memory of one reply: `head` bytes for its header, and the data right behind. */
export interface ReplyBuffer {
  readonly bytes: Buffer
  /** Gives the memory back for reuse; nobody may touch `bytes` afterwards. */
  readonly release: () => void
}

export interface ReplyBuffers {
  acquire(headSize: number, dataSize: number): ReplyBuffer
}

/** No header is longer. Data starts right behind, on a word: V8 copies shared memory to anywhere else bytewise. */
const headRoom = 64
const dataSizeMin = 4096

/**
 * Reuses buffers, by powers of two: a server that answers a thousand reads a second would else leave it to
 * the garbage collector to find all that memory in time.
 */
export function createReplyBuffers(): ReplyBuffers {
  const free = new Map<number, ArrayBuffer[]>()
  let freeSize = 0
  return {
    acquire(headSize, dataSize) {
      const room = headRoom + Math.max(dataSizeMin, 2 ** Math.ceil(Math.log2(dataSize)))
      const kept = free.get(room)?.pop()
      if (kept !== undefined) freeSize -= room
      const memory = kept ?? new ArrayBuffer(room)
      return {
        bytes: Buffer.from(memory, headRoom - headSize, headSize + dataSize),
        release() {
          if (freeSize + room > serveLimits.replyBuffersKept) return
          freeSize += room
          const same = free.get(room)
          if (same === undefined) free.set(room, [memory])
          else same.push(memory)
        }
      }
    }
  }
}
