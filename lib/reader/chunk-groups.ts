import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Sealing } from '../crypto/sealing.js'
import { digestAt, type PageColumns } from '../format/index-page.js'
import { memoryLimits } from '../limits.js'
import { reviveError } from '../workers/messages.js'
import { inlinePool, type WorkerPool } from '../workers/pool.js'
import type { SharedDictionary } from '../workers/prepared.js'
import { createFittingSlabs, ownMemory } from '../workers/slabs.js'
import { decodeBlock, type LoadGroup } from '../workers/decode-tasks.js'
import { readInto, type ByteSource } from './byte-source.js'
import type { BlockPlace } from './check-block.js'

/** Chunks whose blocks lie side by side in the file, so that one read gets them. */
export interface ChunkGroup {
  readonly offset: number
  storedSize: number
  rawSize: number
  readonly blocks: BlockPlace[]
}

export function openGroup(page: PageColumns, index: number): ChunkGroup {
  return { offset: page.blockOffsets[index] ?? 0, storedSize: 0, rawSize: 0, blocks: [] }
}

/** Whether the entry's block is the group's last one or follows it, and the group has room. */
export function canTake(group: ChunkGroup, page: PageColumns, index: number): boolean {
  if (group.rawSize >= memoryLimits.batchSize) return false
  const offset = page.blockOffsets[index] ?? 0
  return offset === group.offset + group.storedSize || offset === group.blocks.at(-1)?.offset
}

/** Enters the chunk, and gives its place in the group. */
export function addToGroup(group: ChunkGroup, page: PageColumns, index: number): number {
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
    digest: digestAt(page, index)
  })
  if (!isSame) group.storedSize += storedSize
  group.rawSize += rawSize
  return group.blocks.length - 1
}

/**
 * Reads the frames of a group and puts the checked bytes of each chunk into its part of `chunks`.
 *
 * @throws CorruptError, SourceError
 */
export type GroupLoader = (group: ChunkGroup, chunks: readonly Uint8Array[]) => Promise<void>

export interface GroupLoaderOptions {
  readonly source: ByteSource
  readonly sealing: Sealing | undefined
  readonly dictionary: () => Promise<SharedDictionary | undefined>
  readonly pool: WorkerPool
}

/** Bytes of free memory for frames that are kept. */
const framesKept = memoryLimits.loadSizeMax

/** Decodes on this thread when there is no pool, else on the pool. */
export function createGroupLoader(options: GroupLoaderOptions): GroupLoader {
  return options.pool === inlinePool ? loadHere(options) : loadThere(options)
}

function loadHere({ source, sealing, dictionary: read }: GroupLoaderOptions): GroupLoader {
  const slabs = createFittingSlabs(framesKept, ownMemory)
  return async ({ offset, storedSize, blocks }, chunks) => {
    const { bytes: frames, release } = slabs.acquire(storedSize)
    try {
      await readInto(source, offset, frames)
      const dictionary = await read()
      for (const [i, block] of blocks.entries()) {
        if (i > 0) await nextTurn() // others get a turn, and the bindings free their buffers
        chunks[i]?.set(decodeBlock({ frames, where: source.name, sealing, dictionary }, block))
      }
    } finally {
      release()
    }
  }
}

/** Tasks of a pool's thread: one in work, and one that waits for it. */
const tasksPerThread = 2

interface Waiting extends LoadGroup {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * A message to a thread costs as much as decoding a small block, so groups that have to wait for a thread go
 * there together. Of a file the thread reads the frames itself, which spares another two changes of thread.
 */
function loadThere({ source, sealing, dictionary: read, pool }: GroupLoaderOptions): GroupLoader {
  const slabs = createFittingSlabs(framesKept)
  const waiting: Waiting[] = []
  let freeCount = pool.size * tasksPerThread

  const send = async (batch: readonly Waiting[]): Promise<void> => {
    try {
      const dictionary = await read()
      const groups = batch.map(({ resolve: _, reject: __, ...group }) => group)
      const errors = await pool.run('loadBlocks', {
        fd: source.fd,
        groups,
        where: source.name,
        sealing,
        dictionary
      })
      batch.forEach(({ resolve, reject }, i) => {
        const error = errors[i]
        if (error === undefined) resolve()
        else reject(reviveError(error))
      })
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
    freeCount += 1
    dispatch()
  }
  const dispatch = (): void => {
    while (waiting.length > 0 && freeCount > 0) {
      const batch: Waiting[] = []
      const share = Math.ceil(waiting.length / freeCount)
      let size = 0
      for (let next = waiting[0]; next !== undefined && batch.length < share; next = waiting[0]) {
        if (size > 0 && size + next.storedSize > memoryLimits.batchSize) break
        size += next.storedSize
        batch.push(next)
        waiting.shift()
      }
      freeCount -= 1
      void send(batch)
    }
  }

  return async ({ offset, storedSize, blocks }, chunks) => {
    const slab = source.fd === undefined ? slabs.acquire(storedSize) : undefined
    try {
      if (slab !== undefined) await readInto(source, offset, slab.bytes)
      await new Promise<void>((resolve, reject) => {
        waiting.push({ offset, storedSize, frames: slab?.bytes, blocks, chunks, resolve, reject })
        dispatch()
      })
    } finally {
      slab?.release()
    }
  }
}
