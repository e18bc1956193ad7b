import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Sealing } from '../crypto/sealing.js'
import { digestSize } from '../format/digest.js'
import type { PageColumns } from '../format/index-page.js'
import { memoryLimits } from '../limits.js'
import { inlinePool, type WorkerPool } from '../workers/pool.js'
import { createSizedSlabs } from '../workers/slabs.js'
import { decodeBlock } from '../workers/tasks.js'
import { createAdmission } from './admission.js'
import { readInto, type ByteSource } from './byte-source.js'
import { createCache } from './cache.js'
import type { BlockPlace } from './check-block.js'

/** Decoded chunks for random reads. What it gives is to be copied at once, and never written to. */
export interface ChunkStore {
  /** The chunk of an entry when it is at hand. */
  peek(page: PageColumns, index: number): Uint8Array | undefined
  /**
   * Reads, decodes and checks chunks, blocks that lie side by side at once, and keeps them. Chunks that
   * somebody is loading already are waited for.
   *
   * @param use called with each chunk, in any order; never again once the promise is settled
   * @throws CorruptError, SourceError: the first, when all loads are done
   */
  load(
    page: PageColumns,
    indexes: readonly number[],
    use: (index: number, bytes: Uint8Array) => void
  ): Promise<void>
  /** Whether loading that many bytes would not keep others waiting. */
  hasRoom(size: number): boolean
  /** Waits until nothing is being loaded. */
  settle(): Promise<void>
}

export interface ChunkStoreOptions {
  readonly source: ByteSource
  readonly sealing: Sealing | undefined
  readonly pool: WorkerPool
  /** Bytes of chunks kept. */
  readonly cacheSize: number
}

/** Chunks that are loaded by one read of the source. */
interface Group {
  readonly offset: number
  storedSize: number
  rawSize: number
  readonly blocks: BlockPlace[]
  readonly keys: string[]
  /** Who wants them. Called while their memory counts as in work, so that nobody holds on to it. */
  readonly users: ((chunks: readonly Uint8Array[]) => void)[]
  readonly done: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export function createChunkStore({ source, sealing, pool, cacheSize }: ChunkStoreOptions): ChunkStore {
  const kept = createCache<string, Uint8Array>(cacheSize, (chunk) => chunk.length)
  const loading = new Map<string, { readonly group: Group; readonly slot: number }>()
  const running = new Set<Promise<unknown>>()
  const admission = createAdmission(memoryLimits.loadSizeMax)
  const slabs = createSizedSlabs(memoryLimits.loadSizeMax / 4)

  const decodeHere = async (frames: Uint8Array, { blocks }: Group): Promise<Uint8Array[]> => {
    const chunks: Uint8Array[] = []
    for (const block of blocks) {
      if (chunks.length > 0) await nextTurn() // the bindings free their buffers then, and others get a turn
      chunks.push(Buffer.allocUnsafeSlow(block.rawSize))
      chunks.at(-1)?.set(decodeBlock({ frames, where: source.name, sealing }, block))
    }
    return chunks
  }

  const decodeThere = async (frames: Uint8Array, { blocks, rawSize }: Group): Promise<Uint8Array[]> => {
    const raw = slabs.acquire(rawSize)
    try {
      await pool.run('decodeBlocks', { frames, blocks, bytes: raw.bytes, where: source.name, sealing })
      return blocks.map((block) => {
        const chunk = Buffer.allocUnsafeSlow(block.rawSize)
        chunk.set(raw.bytes.subarray(block.rawStart, block.rawStart + block.rawSize))
        return chunk
      })
    } finally {
      raw.release()
    }
  }

  const run = async (group: Group): Promise<void> => {
    const size = group.storedSize + group.rawSize
    await admission.enter(size)
    const stored = slabs.acquire(group.storedSize)
    try {
      await readInto(source, group.offset, stored.bytes)
      // A hop to a thread costs as much as half a block: it pays when there is something else to do here.
      const isAlone = running.size === 1 && group.blocks.length === 1
      const decode = pool === inlinePool || isAlone ? decodeHere : decodeThere
      const chunks = await decode(stored.bytes, group)
      chunks.forEach((chunk, i) => kept.add(group.keys[i] ?? '', chunk))
      for (const use of group.users) use(chunks)
    } finally {
      stored.release()
      admission.leave(size)
      for (const key of group.keys) loading.delete(key)
    }
  }

  const start = (group: Group): void => {
    const work = run(group).then(group.resolve, group.reject)
    running.add(work)
    void work.then(() => running.delete(work))
  }

  return {
    peek: (page, index) => kept.peek(keyOf(page, index)),
    async load(page, indexes, use) {
      const groups = new Set<Group>()
      let open: Group | undefined
      for (const index of indexes) {
        const key = keyOf(page, index)
        let found = loading.get(key)
        if (found === undefined) {
          const group = canTake(open, page, index) ? open : openGroup(page, index)
          if (open !== undefined && open !== group) start(open)
          open = group
          found = { group, slot: addTo(group, page, index, key) }
          loading.set(key, found)
        }
        const { group, slot } = found
        group.users.push((chunks) => use(index, chunks[slot] ?? new Uint8Array(0)))
        groups.add(group)
      }
      if (open !== undefined) start(open)
      // All must be done, even when one fails: the caller's memory may be used for something else then.
      const ends = await Promise.allSettled(Array.from(groups, ({ done }) => done))
      for (const end of ends) if (end.status === 'rejected') throw end.reason
    },
    hasRoom: (size) => admission.hasRoom(size),
    async settle() {
      while (running.size > 0) await Promise.all(running)
      kept.clear()
    }
  }
}

/** A chunk's digest and size: chunks of the same bytes are one, wherever their blocks lie. */
function keyOf({ digests, starts }: PageColumns, index: number): string {
  const digest = Buffer.from(digests.buffer, digests.byteOffset + index * digestSize, digestSize)
  return `${digest.toString('latin1')}${(starts[index + 1] ?? 0) - (starts[index] ?? 0)}`
}

function openGroup(page: PageColumns, index: number): Group {
  let resolve: Group['resolve'] = () => undefined
  let reject: Group['reject'] = () => undefined
  const done = new Promise<void>((...settle) => ([resolve, reject] = settle))
  const offset = page.blockOffsets[index] ?? 0
  return { offset, storedSize: 0, rawSize: 0, blocks: [], keys: [], users: [], done, resolve, reject }
}

/** Whether the entry's block follows the group's last one, and the group has room. */
function canTake(group: Group | undefined, page: PageColumns, index: number): group is Group {
  if (group === undefined || group.rawSize >= memoryLimits.batchSize) return false
  const offset = page.blockOffsets[index] ?? 0
  return offset === group.offset + group.storedSize || offset === group.blocks.at(-1)?.offset
}

/** Enters the chunk, and gives its place in the group. */
function addTo(group: Group, page: PageColumns, index: number, key: string): number {
  const offset = page.blockOffsets[index] ?? 0
  const storedSize = page.storedSizes[index] ?? 0
  const rawSize = (page.starts[index + 1] ?? 0) - (page.starts[index] ?? 0)
  const last = group.blocks.at(-1)
  const isSame = last?.offset === offset
  group.blocks.push({
    start: isSame ? last.start : group.storedSize,
    storedSize,
    offset,
    rawStart: group.rawSize,
    rawSize,
    innerOffset: page.innerOffsets[index] ?? 0,
    digest: page.digests.subarray(index * digestSize, (index + 1) * digestSize)
  })
  group.keys.push(key)
  if (!isSame) group.storedSize += storedSize
  group.rawSize += rawSize
  return group.blocks.length - 1
}
