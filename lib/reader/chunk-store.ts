import { digestSize } from '../format/digest.js'
import { rawSizeAt, type PageColumns } from '../format/index-page.js'
import { memoryLimits } from '../limits.js'
import { sharedMemory } from '../workers/slabs.js'
import { createAdmission } from './admission.js'
import { createChunkCache, type ChunkRoom } from './chunk-cache.js'
import { addToGroup, canTake, openGroup, type ChunkGroup } from './chunk-groups.js'
import type { GroupLoader } from './group-loader.js'

/** Decoded chunks for random reads. What it gives is to be copied at once, and never written to. */
export interface ChunkStore {
  /** The chunk of an entry when it is at hand. */
  peek(page: PageColumns, index: number): Uint8Array | undefined
  /**
   * Reads, decodes and checks chunks, blocks that lie side by side at once, and keeps them. Chunks that
   * somebody is loading already are waited for.
   *
   * @param use called with each chunk, in any order; never again once the promise is settled. Without it nobody waits
   * for them
   * @throws CorruptError, SourceError: the first, when all loads are done
   */
  load(
    page: PageColumns,
    indexes: readonly number[],
    use?: (index: number, bytes: Uint8Array) => void
  ): Promise<void>
  /** Whether loading that many bytes would not keep others waiting. */
  hasRoom(size: number): boolean
  /** Forgets all chunks. */
  clear(): void
}

/** A group of chunks on its way. */
interface Loading {
  readonly group: ChunkGroup
  readonly isAhead: boolean
  readonly keys: string[]
  /** Who wants them. Called while their memory counts as in work, so that nobody holds on to it. */
  readonly users: ((chunks: readonly Uint8Array[]) => void)[]
  readonly done: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** What one reader wants of a group: entries of the page, and their places in the group. */
interface Part {
  readonly from: Loading
  readonly slots: number[]
  readonly indexes: number[]
}

/**
 * An eighth of `cacheSize` is left for the frames that chunks are decoded from. A chunk that is not kept any more
 * gives its memory to the next one; that is safe because nobody looks at a chunk after the turn of the event loop
 * in which it was given.
 *
 * @param cacheSize bytes
 * @param newMemory for chunks, which `loadGroup` must be able to fill
 */
export function createChunkStore(
  loadGroup: GroupLoader,
  cacheSize: number,
  newMemory = sharedMemory
): ChunkStore {
  const cache = createChunkCache(cacheSize - Math.floor(cacheSize / 8), newMemory)
  const loading = new Map<string, Loading>()
  const admission = createAdmission(memoryLimits.loadSizeMax)

  const run = async ({ group, isAhead, keys, users }: Loading): Promise<void> => {
    const size = group.storedSize + group.rawSize
    await admission.enter(size)
    const rooms: ChunkRoom[] = []
    try {
      for (const index of group.indexes) rooms.push(cache.reserve(rawSizeAt(group.page, index)))
      const chunks = rooms.map(({ bytes }) => bytes)
      await loadGroup(group, chunks, isAhead)
      for (const use of users) use(chunks)
      rooms.forEach((room, i) => room.keep(keys[i] ?? ''))
    } catch (error) {
      for (const room of rooms) room.drop()
      throw error
    } finally {
      admission.leave(size)
      for (const key of keys) loading.delete(key)
    }
  }

  const start = (one: Loading): void => {
    run(one).then(one.resolve, one.reject)
  }

  const store: ChunkStore = {
    peek: (page, index) => cache.peek(keyOf(page, index)),
    async load(page, indexes, use) {
      const parts: Part[] = []
      let open: Loading | undefined
      for (const index of indexes) {
        const key = keyOf(page, index)
        const found = loading.get(key)
        if (found !== undefined) {
          addToPart(parts, found, found.keys.indexOf(key), index, use)
          continue
        }
        if (open !== undefined && !canTake(open.group, index)) {
          start(open)
          open = undefined
        }
        open ??= openLoading(openGroup(page, index), use === undefined)
        open.keys.push(key)
        loading.set(key, open)
        addToPart(parts, open, addToGroup(open.group, index), index, use)
      }
      if (open !== undefined) start(open)
      // All must be done, even when one fails: the caller's memory may be used for something else then.
      const ends = await Promise.allSettled(parts.map(({ from }) => from.done))
      const again: number[] = []
      for (const [i, end] of ends.entries()) {
        const part = parts[i]
        if (end.status !== 'rejected' || part === undefined) continue
        // What is damaged may be a chunk that only somebody else in the group wanted.
        if (part.from.keys.length <= part.indexes.length) throw end.reason
        again.push(...part.indexes)
      }
      if (again.length > 0) await store.load(page, again, use)
    },
    hasRoom: (size) => admission.hasRoom(size),
    clear: () => cache.clear()
  }
  return store
}

/** Adds a chunk to what is wanted of a group. */
function addToPart(
  parts: Part[],
  from: Loading,
  slot: number,
  index: number,
  use?: (index: number, bytes: Uint8Array) => void
): void {
  const found = parts.at(-1)?.from === from ? parts.at(-1) : parts.find((one) => one.from === from)
  if (found !== undefined) {
    found.slots.push(slot)
    found.indexes.push(index)
    return
  }
  const part: Part = { from, slots: [slot], indexes: [index] }
  parts.push(part)
  if (use === undefined) return
  from.users.push((chunks) => {
    for (const [i, one] of part.indexes.entries()) {
      const chunk = chunks[part.slots[i] ?? -1]
      if (chunk !== undefined) use(one, chunk)
    }
  })
}

function openLoading(group: ChunkGroup, isAhead: boolean): Loading {
  let resolve: Loading['resolve'] = () => undefined
  let reject: Loading['reject'] = () => undefined
  const done = new Promise<void>((...settle) => ([resolve, reject] = settle))
  return { group, isAhead, keys: [], users: [], done, resolve, reject }
}

const keyBytes = Buffer.alloc(digestSize + 4)

/** A chunk's digest and size: chunks of the same bytes are one, wherever their blocks lie. */
function keyOf(page: PageColumns, index: number): string {
  keyBytes.set(page.digests.subarray(index * digestSize, (index + 1) * digestSize))
  keyBytes.writeUInt32LE(rawSizeAt(page, index), digestSize)
  return keyBytes.toString('latin1')
}
