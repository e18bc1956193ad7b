import { wipe, type Sealing } from '../crypto/sealing.js'
import type { Credentials } from '../crypto/unlock.js'
import { CorruptError } from '../errors.js'
import type { IndexRoot } from '../format/index-root.js'
import { entriesOf, type IndexPage } from '../format/index-page.js'
import { memoryLimits } from '../limits.js'
import { checkVerify } from '../option-tables.js'
import { createPoolFor, inlinePool, type WorkerPool } from '../workers/pool.js'
import type { SharedDictionary } from '../workers/prepared.js'
import { createSlabPool, type SlabPool } from '../workers/slabs.js'
import type { ByteSource } from './byte-source.js'
import { listBlocks } from './block-list.js'
import { frameSpans, openSpan, type FrameSpan } from './frame-spans.js'
import { readDictionary } from './dictionary.js'
import { createKnownBlocks } from './known-blocks.js'
import { createLayout } from './layout.js'
import { inOrder } from './ordered.js'
import type { Range } from './ranges.js'
import { createPageStore } from './page-store.js'
import { readPageColumns, readStructure, startOfPage, type Structure } from './structure.js'

export interface VerifyOptions extends Credentials {
  /** Check header, footer, root and index pages only. */
  readonly quick?: boolean
  /** Worker threads, default one a core; 0 checks on this thread, which is right for small snapshots. */
  readonly concurrency?: number
  readonly signal?: AbortSignal
  /** Called with the bytes of the file checked so far. */
  readonly onProgress?: (checkedSize: number) => void
}

export interface VerifyResult extends Structure {
  readonly fileSize: number
  /** Chunks whose bytes were decoded and compared with their digests; 0 when quick. */
  readonly chunkCount: number
}

/**
 * Checks a snapshot from its first byte to its last: every checksum, the digest of every chunk, and the
 * chain from the chunks over pages and root to the snapshot digest. What is between header and root must
 * be exactly the frames that the index describes, in its order.
 *
 * @throws the first CorruptError met; SourceError, UnsupportedError
 */
export async function verifySnapshot(source: ByteSource, given: VerifyOptions = {}): Promise<VerifyResult> {
  checkVerify(source, given)
  const { quick = false, ...options } = given
  const structure = await readStructure(source, options)
  try {
    const chunkCount = await (quick ? checkPages : checkContents)(source, structure, options)
    return { ...structure, fileSize: source.size, chunkCount }
  } finally {
    wipe(structure.sealing?.dataKey)
  }
}

interface CheckOptions {
  readonly concurrency?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((checkedSize: number) => void) | undefined
}

async function checkPages(
  source: ByteSource,
  structure: Structure,
  { signal, onProgress }: CheckOptions
): Promise<number> {
  const { root } = structure
  await readDictionary({ source, ...structure })
  for (let number = 0; number < root.pages.length; number++) {
    signal?.throwIfAborted()
    await readPageColumns(source, structure, number)
    onProgress?.(startOfPage(structure, number + 1))
  }
  return 0
}

/**
 * What is behind a structure that was read: all that `verifySnapshot` checks.
 *
 * @returns number of chunks that were decoded
 */
export async function checkContents(
  source: ByteSource,
  structure: Structure,
  { concurrency, signal, onProgress }: CheckOptions
): Promise<number> {
  const { root, sealing } = structure
  const pool = concurrency === 0 ? inlinePool : createPoolFor(source.size, concurrency)
  let chunkCount = 0
  try {
    const dictionary = await readDictionary({ source, root, sealing })
    const pages = createPageStore(
      (number) => readPageColumns(source, structure, number),
      memoryLimits.pageCacheSize
    )
    const known = createKnownBlocks(source, structure, dictionary, pages)
    let isDictionaryMet = root.dictionary === undefined
    const onDictionary = (): void => void (isDictionaryMet = true)
    const slabs = createSlabPool(memoryLimits.runSize)
    const context = { source, sealing, dictionary, root, onDictionary, pool, slabs, signal }
    for (let number = 0; number < root.pages.length; number++) {
      signal?.throwIfAborted()
      const page = await pages.get(number)
      const range = { start: startOfPage(structure, number), end: root.pages.at(number)?.handle.offset ?? 0 }
      chunkCount += await checkFrames(context, entriesOf(page), range)
      known.add(page)
      await known.check(page)
      onProgress?.(startOfPage(structure, number + 1))
    }
    if (!isDictionaryMet) throw strayDictionary(source.name, root)
    return chunkCount
  } finally {
    await pool.close()
  }
}

interface CheckContext {
  readonly source: ByteSource
  readonly sealing: Sealing | undefined
  readonly dictionary: SharedDictionary | undefined
  readonly root: IndexRoot
  /** Called when the dictionary's frame is met. */
  readonly onDictionary: () => void
  readonly pool: WorkerPool
  readonly slabs: SlabPool
  readonly signal: AbortSignal | undefined
}

/** Checks the frames before a page against it, and decodes the blocks. Gives the number of chunks. */
async function checkFrames(
  { source, sealing, dictionary, root, onDictionary, pool, slabs, signal }: CheckContext,
  page: IndexPage,
  range: Range
): Promise<number> {
  const layout = createLayout(page, source.name, root.dictionary)
  const window = memoryLimits.runsInWork(pool.size)
  const stored = frameSpans(source, range.start, range.end, slabs)
  const spans =
    sealing === undefined
      ? stored
      : inOrder(stored, (span) => openSpan(span, sealing, pool, slabs, source.name), window)
  const check = async (span: FrameSpan): Promise<number> => {
    const blocks = span.frames.flatMap((frame) =>
      layout.take(frame, span.bytes.subarray(frame.start, frame.start + frame.size))
    )
    if (span.frames.some(({ header }) => header.type === 'dictionary')) onDictionary()
    const decode = { frames: span.bytes, blocks: listBlocks(blocks), where: source.name, dictionary }
    await pool.run('decodeBlocks', decode)
    span.release()
    return blocks.length
  }
  let chunkCount = 0
  for await (const count of inOrder(spans, check, window)) {
    signal?.throwIfAborted()
    chunkCount += count
  }
  layout.end()
  return chunkCount
}

function strayDictionary(where: string, { dictionary }: IndexRoot): CorruptError {
  const offset = dictionary?.handle.offset ?? 0
  const why = 'the dictionary that the root names is none of the frames'
  return new CorruptError('BAD_STRUCTURE', `${where} is damaged at byte ${offset}: ${why}`, { where, offset })
}
