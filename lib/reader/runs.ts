import type { Sealing } from '../crypto/sealing.js'
import { findEntry, isHoleAt, rawSizeAt, type PageColumns } from '../format/index-page.js'
import type { IndexRoot } from '../format/index-root.js'
import { memoryLimits } from '../limits.js'
import type { WorkerPool } from '../workers/pool.js'
import type { SharedDictionary } from '../workers/prepared.js'
import type { Slab, SlabPool } from '../workers/slabs.js'
import type { WriteTarget } from '../workers/decode-tasks.js'
import { framesSize, type BlockList } from './block-list.js'
import { readsOf } from './block-reads.js'
import { readInto, type ByteSource } from './byte-source.js'
import { listChunks } from './chunk-groups.js'
import { findPage } from './find-page.js'
import { inOrder } from './ordered.js'
import type { PageStore } from './page-store.js'
import type { Range } from './ranges.js'

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

/** A piece that was written where it belongs. */
export interface WrittenRun {
  readonly kind: 'written'
  readonly offset: number
  readonly size: number
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
  readonly blocks: BlockList
}

/** How a stream is taken apart: plain bytes of a group, and how many groups are in work. */
interface Portions {
  readonly sizeMax: number
  readonly window: number
}

/** The bytes of a range of `stream`, about 1 MiB at a time, decoded in parallel, in order. */
export function readRuns(context: ReadContext, stream: number, range: Range): AsyncGenerator<Run, void> {
  const portions = { sizeMax: memoryLimits.runSize, window: memoryLimits.runsInWork(context.pool.size) }
  return runsOf(context, stream, range, portions, (group) => loadGroup(context, group))
}

/**
 * The same, but the threads that decode also write: each byte to its offset less `range.start`, in any
 * order. Holes are left to the caller. Once it ends, and however that is, nothing more is written.
 */
export function writeRuns(
  context: ReadContext,
  stream: number,
  range: Range,
  target: WriteTarget
): AsyncGenerator<HoleRun | WrittenRun, void> {
  const { size } = context.pool
  const portions =
    context.source.fd === undefined
      ? { sizeMax: memoryLimits.runSize, window: memoryLimits.runsInWork(size) }
      : { sizeMax: memoryLimits.writeSize, window: memoryLimits.writesInWork(size) }
  return runsOf(context, stream, range, portions, (group) => writeGroup(context, group, range, target))
}

function runsOf<Loaded extends DataRun | WrittenRun>(
  context: ReadContext,
  stream: number,
  range: Range,
  { sizeMax, window }: Portions,
  load: (group: ChunkGroup) => Promise<Loaded>
): AsyncGenerator<HoleRun | Loaded, void> {
  const work = async (item: HoleRun | ChunkGroup): Promise<HoleRun | Loaded> =>
    item.kind === 'hole' ? item : load(item)
  return clip(inOrder(groups(context, stream, range, sizeMax), work, window), range)
}

/** Entries that touch the range, as holes and as groups of chunks. */
async function* groups(
  context: ReadContext,
  stream: number,
  { start, end }: Range,
  sizeMax: number
): AsyncGenerator<HoleRun | ChunkGroup> {
  let open: number[] = []
  let openSize = 0
  let openStored = 0
  const close = function* (page: PageColumns): Generator<ChunkGroup> {
    const [first] = open
    if (first === undefined) return
    const offset = page.starts[first] ?? 0
    yield { kind: 'chunks', offset, rawSize: openSize, blocks: listChunks(page, open) }
    open = []
    openSize = 0
    openStored = 0
  }
  for (let number = findPage(context.root, stream, start); number < context.root.pages.length; number++) {
    const ref = context.root.pages.at(number)
    if (ref?.stream !== stream || ref.streamOffset >= end) break
    const page = await context.pages.get(number)
    for (let index = findEntry(page, start); index < page.entryCount; index++) {
      const entryOffset = page.starts[index] ?? end
      if (entryOffset >= end) break
      const rawSize = rawSizeAt(page, index)
      if (isHoleAt(page, index)) {
        yield* close(page)
        yield { kind: 'hole', offset: entryOffset, size: rawSize }
        continue
      }
      const storedSize = page.storedSizes[index] ?? 0
      const isFull = openSize + rawSize > sizeMax || openStored + storedSize > 2 * sizeMax
      if (isFull) yield* close(page)
      open.push(index)
      openSize += rawSize
      openStored += storedSize
    }
    yield* close(page)
  }
}

/** Reads the frames of a group, adjacent ones at once, and decodes them. */
async function loadGroup(
  { source, pool, slabs, sealing, dictionary }: ReadContext,
  { blocks, offset, rawSize }: ChunkGroup
): Promise<DataRun> {
  const stored = await readFrames(source, slabs, blocks)
  const raw = slabs.acquire(rawSize)
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

/** The same, and writes the chunks, as far as they are in the range of the stream. */
async function writeGroup(
  { source, pool, slabs, sealing, dictionary }: ReadContext,
  { blocks, offset, rawSize }: ChunkGroup,
  { start, end }: Range,
  target: WriteTarget
): Promise<WrittenRun> {
  // A thread reads a file itself.
  const stored = source.fd === undefined ? await readFrames(source, slabs, blocks) : undefined
  const args = {
    fd: source.fd,
    frames: stored?.bytes,
    blocks,
    target,
    position: offset - start,
    range: { start: Math.max(0, start - offset), end: Math.min(rawSize, end - offset) },
    where: source.name,
    sealing,
    dictionary: await dictionary()
  }
  await pool.run('writeBlocks', args, { mayRunHere: true })
  stored?.release()
  return { kind: 'written', offset, size: rawSize }
}

async function readFrames(source: ByteSource, slabs: SlabPool, blocks: BlockList): Promise<Slab> {
  const slab = slabs.acquire(framesSize(blocks))
  for (const { start, size, offset } of readsOf(blocks))
    await readInto(source, offset, slab.bytes.subarray(start, start + size))
  return slab
}

/** Cuts the first and the last run to the range. */
async function* clip<Kind extends Run | WrittenRun>(
  runs: AsyncIterable<Kind>,
  { start, end }: Range
): AsyncGenerator<Kind, void> {
  for await (const run of runs) {
    const size = run.kind === 'data' ? run.bytes.length : run.size
    const from = Math.max(start, run.offset)
    const to = Math.min(end, run.offset + size)
    if (run.kind === 'data')
      yield { ...run, offset: from, bytes: run.bytes.subarray(from - run.offset, to - run.offset) }
    else yield { ...run, offset: from, size: to - from }
  }
}
