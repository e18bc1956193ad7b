import { digestSize } from '../format/digest.js'
import type { PageColumns } from '../format/index-page.js'
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
  const loading = new Map<string, { readonly from: Loading; readonly slot: number }>()
  const admission = createAdmission(memoryLimits.loadSizeMax)

  const run = async ({ group, isAhead, keys, users }: Loading): Promise<void> => {
    const size = group.storedSize + group.rawSize
    await admission.enter(size)
    const rooms: ChunkRoom[] = []
    try {
      for (const { rawSize } of group.blocks) rooms.push(cache.reserve(rawSize))
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
      const waits = new Map<Loading, number[]>()
      let open: Loading | undefined
      for (const index of indexes) {
        const key = keyOf(page, index)
        let found = loading.get(key)
        if (found === undefined) {
          if (open !== undefined && !canTake(open.group, page, index)) {
            start(open)
            open = undefined
          }
          open ??= openLoading(openGroup(page, index), use === undefined)
          found = { from: open, slot: addToGroup(open.group, page, index) }
          open.keys.push(key)
          loading.set(key, found)
        }
        const { from, slot } = found
        from.users.push((chunks) => {
          const chunk = chunks[slot]
          if (chunk !== undefined) use?.(index, chunk)
        })
        const mine = waits.get(from)
        if (mine === undefined) waits.set(from, [index])
        else mine.push(index)
      }
      if (open !== undefined) start(open)
      // All must be done, even when one fails: the caller's memory may be used for something else then.
      const parts = [...waits]
      const ends = await Promise.allSettled(parts.map(([{ done }]) => done))
      const again: number[] = []
      for (const [i, end] of ends.entries()) {
        if (end.status !== 'rejected') continue
        const [from, mine] = parts[i] ?? []
        // What is damaged may be a chunk that only somebody else in the group wanted.
        if (from === undefined || mine === undefined || from.keys.length <= mine.length) throw end.reason
        again.push(...mine)
      }
      if (again.length > 0) await store.load(page, again, use)
    },
    hasRoom: (size) => admission.hasRoom(size),
    clear: () => cache.clear()
  }
  return store
}

function openLoading(group: ChunkGroup, isAhead: boolean): Loading {
  let resolve: Loading['resolve'] = () => undefined
  let reject: Loading['reject'] = () => undefined
  const done = new Promise<void>((...settle) => ([resolve, reject] = settle))
  return { group, isAhead, keys: [], users: [], done, resolve, reject }
}

/** A chunk's digest and size: chunks of the same bytes are one, wherever their blocks lie. */
function keyOf({ digests, starts }: PageColumns, index: number): string {
  const digest = Buffer.from(digests.buffer, digests.byteOffset + index * digestSize, digestSize)
  return `${digest.toString('latin1')}${(starts[index + 1] ?? 0) - (starts[index] ?? 0)}`
}
