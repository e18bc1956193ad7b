import type { Sealing } from '../crypto/sealing.js'
import { entryAt, findEntry, type ChunkEntry } from '../format/index-page.js'
import type { IndexRoot } from '../format/index-root.js'
import { memoryLimits } from '../limits.js'
import type { WorkerPool } from '../workers/pool.js'
import type { SharedDictionary } from '../workers/prepared.js'
import type { SlabPool } from '../workers/slabs.js'
import { readInto, type ByteSource } from './byte-source.js'
import type { BlockPlace } from './check-block.js'
import { findPage } from './find-page.js'
import { inOrder } from './ordered.js'
import type { PageStore } from './page-store.js'

/** A piece of a stream, in order. `bytes` were checked against their digests. */
export type Run = HoleRun | DataRun

export interface HoleRun {
  readonly kind: 'hole'
  readonly offset: number
  readonly size: number
}

export interface DataRun {
  readonly kind: 'data'
  readonly offset: number
  readonly bytes: Uint8Array
  /** Gives the memory of `bytes` back; optional. */
  readonly release: () => void
}

/** What a run is read through. */
export interface ReadContext {
  readonly source: ByteSource
  readonly root: IndexRoot
  readonly sealing?: Sealing | undefined
  readonly dictionary: () => Promise<SharedDictionary | undefined>
  readonly pages: PageStore
  readonly pool: WorkerPool
  readonly slabs: SlabPool
}

/** Adjacent chunks that are read and decoded together. */
interface ChunkGroup {
  readonly kind: 'chunks'
  readonly offset: number
  readonly rawSize: number
  readonly entries: readonly ChunkEntry[]
}

/** The bytes of `stream` from `start` to `end`, about 1 MiB at a time, decoded in parallel, in order. */
export function readRuns(
  context: ReadContext,
  stream: number,
  start: number,
  end: number
): AsyncGenerator<Run, void> {
  const load = (item: HoleRun | ChunkGroup): Promise<Run> =>
    item.kind === 'hole' ? Promise.resolve(item) : loadGroup(context, item)
  return clip(
    inOrder(groups(context, stream, start, end), load, memoryLimits.batchesInWork(context.pool.size)),
    start,
    end
  )
}

/** Entries that touch the range, as holes and as groups of chunks. */
async function* groups(
  context: ReadContext,
  stream: number,
  start: number,
  end: number
): AsyncGenerator<HoleRun | ChunkGroup> {
  let open: ChunkEntry[] = []
  let openOffset = 0
  let openSize = 0
  let openStored = 0
  const close = function* (): Generator<ChunkGroup> {
    if (open.length > 0) yield { kind: 'chunks', offset: openOffset, rawSize: openSize, entries: open }
    open = []
    openSize = 0
    openStored = 0
  }
  for (let number = findPage(context.root, stream, start); number < context.root.pages.length; number++) {
    const ref = context.root.pages[number]
    if (ref?.stream !== stream || ref.streamOffset >= end) break
    const page = await context.pages.get(number)
    for (let index = findEntry(page, start); index < page.entryCount; index++) {
      const entryOffset = page.starts[index] ?? end
      if (entryOffset >= end) break
      const entry = entryAt(page, index)
      if (entry.kind === 'hole') {
        yield* close()
        yield { kind: 'hole', offset: entryOffset, size: entry.rawSize }
        continue
      }
      const isFull =
        openSize + entry.rawSize > memoryLimits.batchSize ||
        openStored + entry.storedSize > 2 * memoryLimits.batchSize
      if (isFull) yield* close()
      if (open.length === 0) openOffset = entryOffset
      open.push(entry)
      openSize += entry.rawSize
      openStored += entry.storedSize
    }
  }
  yield* close()
}

/** Reads the frames of a group, adjacent ones at once, and decodes them. */
async function loadGroup(
  { source, pool, slabs, sealing, dictionary }: ReadContext,
  { entries, offset, rawSize }: ChunkGroup
): Promise<DataRun> {
  const stored = slabs.acquire(entries.reduce((sum, entry) => sum + entry.storedSize, 0))
  const raw = slabs.acquire(rawSize)
  const blocks: BlockPlace[] = []
  let start = 0
  let rawStart = 0
  let read = { offset: 0, start: 0, size: 0 }
  const flush = async (): Promise<void> => {
    if (read.size > 0)
      await readInto(source, read.offset, stored.bytes.subarray(read.start, read.start + read.size))
  }
  for (const entry of entries) {
    const { blockOffset, storedSize, innerOffset, digest } = entry
    if (read.offset + read.size === blockOffset) {
      read.size += storedSize
    } else {
      await flush()
      read = { offset: blockOffset, start, size: storedSize }
    }
    blocks.push({
      start,
      storedSize,
      offset: blockOffset,
      rawStart,
      rawSize: entry.rawSize,
      innerOffset,
      digest
    })
    start += storedSize
    rawStart += entry.rawSize
  }
  await flush()
  await pool.run('decodeBlocks', {
    frames: stored.bytes,
    blocks,
    bytes: raw.bytes,
    where: source.name,
    sealing,
    dictionary: await dictionary()
  })
  stored.release()
  return { kind: 'data', offset, bytes: raw.bytes, release: raw.release }
}

/** Cuts the first and the last run to the range. */
async function* clip(runs: AsyncIterable<Run>, start: number, end: number): AsyncGenerator<Run, void> {
  for await (const run of runs) {
    const size = run.kind === 'hole' ? run.size : run.bytes.length
    const from = Math.max(start, run.offset)
    const to = Math.min(end, run.offset + size)
    if (run.kind === 'hole') yield { kind: 'hole', offset: from, size: to - from }
    else yield { ...run, offset: from, bytes: run.bytes.subarray(from - run.offset, to - run.offset) }
  }
}
