import { CorruptError } from '../errors.js'
import { checkFrame, decodeHolePayload, decodeRepeatPayload, frameHeaderSize } from '../format/frame.js'
import type { ChunkEntry, Entry, IndexPage } from '../format/index-page.js'
import { memoryLimits } from '../limits.js'
import { createWorkerPool } from '../workers/pool.js'
import { createSlabPool } from '../workers/slabs.js'
import type { ByteSource } from './byte-source.js'
import { blockStreamOffset, type BlockPlace } from './check-block.js'
import { frameSpans, type FrameSpan, type PlacedFrame } from './frame-spans.js'
import { createKnownBlocks, type KnownBlocks } from './known-blocks.js'
import { inOrder } from './ordered.js'
import { readPage, readStructure, type Structure } from './structure.js'

export interface VerifyOptions {
  /** Check header, footer, root and index pages only. */
  readonly quick?: boolean
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
  { quick = false, concurrency, signal, onProgress }: VerifyOptions = {}
): Promise<VerifyResult> {
  const structure = await readStructure(source)
  const { root, framesOffset, footer } = structure
  const pool = quick ? undefined : createWorkerPool(concurrency)
  const slabs = createSlabPool()
  const known = createKnownBlocks(source, framesOffset)
  let chunkCount = 0
  try {
    let offset = framesOffset
    for (const [number, ref] of root.pages.entries()) {
      signal?.throwIfAborted()
      const page = await readPage(source, root, number)
      if (pool !== undefined) {
        const layout = createLayout(page, source.name)
        const check = async (span: FrameSpan): Promise<void> => {
          const blocks = span.frames.flatMap((frame) =>
            layout.take(frame, span.bytes.subarray(frame.start, frame.start + frame.size))
          )
          chunkCount += blocks.length
          await pool.run('decodeBlocks', { frames: span.bytes, blocks, where: source.name })
          span.release()
        }
        for await (const _ of inOrder(
          frameSpans(source, offset, ref.handle.offset, slabs),
          check,
          memoryLimits.batchesInWork(pool.size)
        ))
          signal?.throwIfAborted()
        layout.end()
        await checkRepeats(page, known)
      }
      offset = ref.handle.offset + ref.handle.size
      onProgress?.(offset)
    }
    if (offset !== footer.root.offset)
      throw broken(source.name, offset, 'there are frames that no index page describes')
    return { ...structure, fileSize: source.size, chunkCount }
  } finally {
    await pool?.close()
  }
}

/** Holds the frames before a page against the page's entries, one after another. */
function createLayout(
  page: IndexPage,
  where: string
): { take(frame: PlacedFrame, bytes: Uint8Array): BlockPlace[]; end(): void } {
  let index = 0
  let streamOffset = page.streamOffset
  const next = (kind: Entry['kind'], offset: number): Entry => {
    const entry = page.entries[index++]
    if (entry?.kind !== kind) throw broken(where, offset, `the ${kind} there is not in the index`)
    streamOffset += entry.rawSize
    return entry
  }
  const takeBlock = ({ offset, size, start }: PlacedFrame, bytes: Uint8Array): BlockPlace[] => {
    if (blockStreamOffset(bytes, where) !== streamOffset)
      throw broken(where, offset, 'the block there belongs elsewhere in its stream')
    const blocks: BlockPlace[] = []
    let innerOffset = 0
    for (
      let entry = page.entries[index];
      isOf(entry, offset, size, innerOffset);
      entry = page.entries[index]
    ) {
      blocks.push({
        start,
        storedSize: size,
        offset,
        rawStart: 0,
        rawSize: entry.rawSize,
        innerOffset,
        digest: entry.digest
      })
      innerOffset += next('block', offset).rawSize
    }
    if (blocks.length === 0) throw broken(where, offset, 'the block there is not in the index')
    return blocks
  }
  return {
    take(frame, bytes) {
      const { header, offset } = frame
      const payload = bytes.subarray(frameHeaderSize)
      if (header.type === 'skip' || header.type === 'dictionary') {
        checkFrame(bytes, where, offset)
        return []
      }
      if (header.stream !== page.stream)
        throw broken(where, offset, `the ${header.type} there belongs to another stream`)
      if (header.type === 'block') return takeBlock(frame, bytes)
      checkFrame(bytes, where, offset)
      if (header.type === 'hole') {
        if (decodeHolePayload(payload, where) !== next('hole', offset).rawSize)
          throw broken(where, offset, 'the hole there has another size in the index')
        return []
      }
      if (header.type !== 'repeat')
        throw broken(where, offset, `a ${header.type} frame does not belong there`)
      let rawSize = 0
      for (const blockOffset of decodeRepeatPayload(payload, where)) {
        const entry = next('repeat', offset) as ChunkEntry
        if (entry.blockOffset !== blockOffset)
          throw broken(where, offset, 'the repeat there names another block than the index')
        rawSize += entry.rawSize
      }
      if (rawSize !== header.rawSize)
        throw broken(where, offset, 'the repeat there has another size in the index')
      return []
    },
    end() {
      if (index !== page.entries.length)
        throw broken(where, 0, 'the index describes frames that are not there')
    }
  }
}

function isOf(
  entry: Entry | undefined,
  offset: number,
  size: number,
  innerOffset: number
): entry is ChunkEntry {
  return (
    entry?.kind === 'block' &&
    entry.blockOffset === offset &&
    entry.storedSize === size &&
    entry.innerOffset === innerOffset
  )
}

/** A repeat must name a block that holds the chunk its digest says. */
async function checkRepeats(page: IndexPage, known: KnownBlocks): Promise<void> {
  for (const entry of page.entries) {
    if (entry.kind === 'block') known.add(entry)
    else if (entry.kind === 'repeat') await known.check(entry)
  }
}

function broken(where: string, offset: number, why: string): CorruptError {
  return new CorruptError('BAD_STRUCTURE', `${where} is damaged at byte ${offset}: ${why}`, { where, offset })
}
