import { memoryLimits } from '../limits.js'

/** Memory for a chunk that is on its way. One of the two is to be called. */
export interface ChunkRoom {
  readonly bytes: Uint8Array
  /** The chunk is there, to be found under its key from now on. */
  keep(key: string): void
  /** It did not come. */
  drop(): void
}

/** Decoded chunks, those kept last. */
export interface ChunkCache {
  /** A kept chunk. It is to be looked at in the same turn of the event loop only, and never written to. */
  peek(key: string): Uint8Array | undefined
  /** Room for a chunk; those kept longest lose theirs to it. */
  reserve(size: number): ChunkRoom
  clear(): void
}

interface Segment {
  readonly memory: ArrayBufferLike
  filled: number
  /** Rooms that wait for their chunk. */
  reservedCount: number
  /** A chunk did not come: a thread may write there late, so the memory is not used again. */
  isSpoiled: boolean
  readonly keys: string[]
}

/** What a chunk takes at least, since a small one costs its entry, too; a multiple of it starts on a word. */
const alignment = 64
const roomMin = 2 * 1024

const roomFor = (size: number): number => Math.max(roomMin, Math.ceil(size / alignment) * alignment)

/**
 * Chunks lie one behind another in segments, and the segment that was opened first is the next to be filled again. So
 * however their sizes vary, no memory is given back, which an allocator may keep, and no room is lost between them:
 * what is held is `sizeMax`. The price is that a chunk goes by its age, not by its last use.
 *
 * @param sizeMax bytes of chunks, kept and on their way; a chunk that finds no room has memory of its own and is not kept
 */
export function createChunkCache(sizeMax: number, newMemory: (size: number) => ArrayBufferLike): ChunkCache {
  const segmentSize = Math.min(memoryLimits.cacheSegmentSize, Math.floor(sizeMax / 8))
  const places = new Map<string, Uint8Array>()
  /** Opened first, first. */
  let segments: Segment[] = []
  let size = 0

  const forget = (segment: Segment): void => {
    size -= segment.memory.byteLength
    for (const key of segment.keys) if (places.get(key)?.buffer === segment.memory) places.delete(key)
  }

  const openSegment = (room: number): Segment | undefined => {
    const wanted = Math.max(segmentSize, room)
    if (wanted > sizeMax) return undefined // others would go for nothing
    let memory: ArrayBufferLike | undefined
    while (size + wanted > sizeMax) {
      const at = segments.findIndex(({ reservedCount }) => reservedCount === 0)
      const [oldest] = at === -1 ? [] : segments.splice(at, 1)
      if (oldest === undefined) return undefined
      forget(oldest)
      if (!oldest.isSpoiled && oldest.memory.byteLength === wanted) memory = oldest.memory
    }
    memory ??= newMemory(wanted)
    const segment: Segment = { memory, filled: 0, reservedCount: 0, isSpoiled: false, keys: [] }
    segments.push(segment)
    size += wanted
    return segment
  }

  const segmentWith = (room: number): Segment | undefined => {
    const open = segments.at(-1)
    return open !== undefined && open.filled + room <= open.memory.byteLength ? open : openSegment(room)
  }

  return {
    peek: (key) => places.get(key),
    reserve(chunkSize) {
      const room = roomFor(chunkSize)
      const segment = segmentWith(room)
      if (segment === undefined) {
        const bytes = new Uint8Array(newMemory(chunkSize))
        return { bytes, keep: () => undefined, drop: () => undefined }
      }
      const bytes = new Uint8Array(segment.memory, segment.filled, chunkSize)
      segment.filled += room
      segment.reservedCount += 1
      return {
        bytes,
        keep(key) {
          segment.reservedCount -= 1
          segment.keys.push(key)
          places.set(key, bytes)
        },
        drop() {
          segment.reservedCount -= 1
          segment.isSpoiled = true
        }
      }
    },
    clear() {
      places.clear()
      segments = []
      size = 0
    }
  }
}
