import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Sealing } from '../crypto/sealing.js'
import { copyBytes } from '../format/bytes.js'
import { memoryLimits } from '../limits.js'
import { createBlockDecoding, type LoadGroup } from '../workers/decode-tasks.js'
import { reviveError } from '../workers/messages.js'
import { inlinePool, type WorkerPool } from '../workers/pool.js'
import type { SharedDictionary } from '../workers/prepared.js'
import { createFittingSlabs, ownMemory, sharedMemory } from '../workers/slabs.js'
import { blockAt } from './block-list.js'
import { readInto, type ByteSource } from './byte-source.js'
import { listChunks, type ChunkGroup } from './chunk-groups.js'
import { createTurnShare } from './turn-share.js'

/**
 * Reads the frames of a group and puts the checked bytes of each chunk into its part of `chunks`, which
 * threads must be able to see when there are any.
 *
 * @param isAhead nobody waits for it yet
 * @throws CorruptError, SourceError
 */
export type GroupLoader = (
  group: ChunkGroup,
  chunks: readonly Uint8Array[],
  isAhead: boolean
) => Promise<void>

export interface GroupLoaderOptions {
  readonly source: ByteSource
  readonly sealing: Sealing | undefined
  readonly dictionary: () => Promise<SharedDictionary | undefined>
  readonly pool: WorkerPool
}

/** Bytes of free memory for frames that are kept. */
const framesKept = memoryLimits.loadSizeMax

/** After two groups were there at one time, so many more are taken for a crowd's. */
const crowdCount = 64

/**
 * Without a pool, everything is decoded on this thread. With one, this thread takes groups that are waited for and come
 * one at a time, because a message to another one costs as much as decoding a small block. Of those that come many at
 * a time it takes none, though a thread be idle: it has to bring the threads their work.
 */
export function createGroupLoader(options: GroupLoaderOptions): GroupLoader {
  const loadHere = createLoadHere(options)
  if (options.pool === inlinePool) return loadHere
  const loadThere = createLoadThere(options)
  let inWork = 0
  let crowd = 0
  return async (group, chunks, isAhead) => {
    if (isAhead) return loadThere(group, chunks, isAhead)
    crowd = inWork > 0 ? crowdCount : Math.max(0, crowd - 1)
    inWork += 1
    try {
      await (crowd === 0 ? loadHere : loadThere)(group, chunks, isAhead)
    } finally {
      inWork -= 1
    }
  }
}

function createLoadHere({ source, sealing, dictionary }: GroupLoaderOptions): GroupLoader {
  const slabs = createFittingSlabs(framesKept, ownMemory)
  // The bindings hold their buffers until the turn ends, however many readers have one.
  const share = createTurnShare(memoryLimits.outputSizeMax)
  return async ({ page, indexes, offset, storedSize }, chunks) => {
    const { bytes: frames, release } = slabs.acquire(storedSize)
    try {
      await readInto(source, offset, frames)
      const context = { frames, where: source.name, sealing, dictionary: await dictionary() }
      const decodeBlock = createBlockDecoding(context)
      const blocks = listChunks(page, indexes)
      for (const [i, chunk] of chunks.entries()) {
        if (i > 0) await nextTurn() // others get a turn
        const block = blockAt(blocks, i)
        const size = block.blockSize ?? block.rawSize
        if (!share.take(size)) await share.takeLater(size)
        copyBytes(decodeBlock(block), chunk)
      }
    } finally {
      release()
    }
  }
}

/** Tasks of a pool's thread: one in work, and one that waits for it. */
const tasksPerThread = 2

interface Waiting extends LoadGroup {
  readonly storedSize: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * Groups that have to wait for a thread go there together, in one message. Of a file the thread reads the
 * frames itself, which spares another two changes of thread.
 */
function createLoadThere({ source, sealing, dictionary: read, pool }: GroupLoaderOptions): GroupLoader {
  const slabs = createFittingSlabs(framesKept, sharedMemory)
  const waiting: Waiting[] = []
  let freeCount = pool.size * tasksPerThread

  const send = async (batch: readonly Waiting[]): Promise<void> => {
    try {
      const dictionary = await read()
      const groups = batch.map(({ frames, blocks, chunks }): LoadGroup => ({ frames, blocks, chunks }))
      const context = { fd: source.fd, where: source.name, sealing, dictionary }
      const errors = await pool.run('loadBlocks', { ...context, groups })
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
        if (size > 0 && size + next.storedSize > memoryLimits.runSize) break
        size += next.storedSize
        batch.push(next)
        waiting.shift()
      }
      freeCount -= 1
      void send(batch)
    }
  }

  return async ({ page, indexes, offset, storedSize }, chunks) => {
    const slab = source.fd === undefined ? slabs.acquire(storedSize) : undefined
    try {
      if (slab !== undefined) await readInto(source, offset, slab.bytes)
      await new Promise<void>((resolve, reject) => {
        const blocks = listChunks(page, indexes)
        waiting.push({ frames: slab?.bytes, storedSize, blocks, chunks, resolve, reject })
        dispatch()
      })
    } finally {
      slab?.release()
    }
  }
}
