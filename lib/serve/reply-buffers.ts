import { serveLimits } from '../limits.js'
import { createFittingSlabs, ownMemory } from '../workers/slabs.js'

/** Memory of one reply: `head` bytes for its header, and the data right behind. */
export interface ReplyBuffer {
  readonly bytes: Buffer
  /** Gives the memory back for reuse; nobody may touch `bytes` afterwards. */
  readonly release: () => void
}

export interface ReplyBuffers {
  acquire(headSize: number, dataSize: number): ReplyBuffer
}

/** No header is longer. */
const headRoom = 64

/**
 * Reuses buffers: a server that answers a thousand reads a second would else leave it to the garbage collector to find
 * all that memory in time.
 */
export function createReplyBuffers(): ReplyBuffers {
  const slabs = createFittingSlabs(serveLimits.replyBuffersKept, ownMemory)
  return {
    acquire(headSize, dataSize) {
      const { bytes, release } = slabs.acquire(headRoom + dataSize)
      const start = bytes.byteOffset + headRoom - headSize
      return { bytes: Buffer.from(bytes.buffer, start, headSize + dataSize), release }
    }
  }
}
