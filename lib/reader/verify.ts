import { wipe, type Sealing } from '../crypto/sealing.js'
import type { Credentials } from '../crypto/unlock.js'
import { CorruptError } from '../errors.js'
import type { IndexRoot } from '../format/index-root.js'
import type { IndexPage } from '../format/index-page.js'
import { memoryLimits } from '../limits.js'
import { createWorkerPool, inlinePool, type WorkerPool } from '../workers/pool.js'
import type { SharedDictionary } from '../workers/prepared.js'
import { createSlabPool, type SlabPool } from '../workers/slabs.js'
import type { ByteSource } from './byte-source.js'
import { listBlocks } from './block-list.js'
import { frameSpans, openSpan, type FrameSpan } from './frame-spans.js'
import { readDictionary } from './dictionary.js'
import { createKnownBlocks, type KnownBlocks } from './known-blocks.js'
import { createLayout } from './layout.js'
import { inOrder } from './ordered.js'
import type { Range } from './ranges.js'
import { readPage, readStructure, type Structure } from './structure.js'

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
export async function verifySnapshot(
  source: ByteSource,
  { quick = false, concurrency, signal, onProgress, ...credentials }: VerifyOptions = {}
): Promise<VerifyResult> {
  const structure = await readStructure(source, credentials)
  const { root, framesOffset, sealing } = structure
  let pool: WorkerPool | undefined
  let chunkCount = 0
  try {
    if (!quick) pool = concurrency === 0 ? inlinePool : createWorkerPool(concurrency)
    const dictionary = await readDictionary({ source, root, sealing })
    const known = createKnownBlocks(source, structure, dictionary)
    let isDictionaryMet = root.dictionary === undefined
    const onDictionary = (): void => void (isDictionaryMet = true)
    const slabs = createSlabPool(memoryLimits.runSize)
    let offset = framesOffset
    for (const [number, ref] of root.pages.entries()) {
      signal?.throwIfAborted()
      const page = await readPage(source, structure, number)
      if (pool !== undefined) {
        const context = { source, sealing, dictionary, root, onDictionary, pool, slabs, signal }
        const range = { start: offset, end: ref.handle.offset }
        chunkCount += await checkFrames(context, page, range)
        await checkRepeats(page, known)
      }
      offset = ref.handle.offset + ref.handle.size
      onProgress?.(offset)
    }
    if (!quick && !isDictionaryMet) throw strayDictionary(source.name, root)
    return { ...structure, fileSize: source.size, chunkCount }
  } finally {
    await pool?.close()
    wipe(sealing?.dataKey)
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

/** A repeat must name a block that holds the chunk its digest says. */
async function checkRepeats(page: IndexPage, known: KnownBlocks): Promise<void> {
  for (const entry of page.entries) {
    if (entry.kind === 'block') known.add(entry)
    else if (entry.kind === 'repeat') await known.check(entry)
  }
}

function strayDictionary(where: string, { dictionary }: IndexRoot): CorruptError {
  const offset = dictionary?.handle.offset ?? 0
  const why = 'the dictionary that the root names is none of the frames'
  return new CorruptError('BAD_STRUCTURE', `${where} is damaged at byte ${offset}: ${why}`, { where, offset })
}
