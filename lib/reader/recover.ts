import { decodeIndexBytes } from '../compression/codecs.js'
import { openFrame, wipe, type Sealing } from '../crypto/sealing.js'
import { expectsEncryption, type Credentials } from '../crypto/unlock.js'
import { CorruptError, UnsupportedError } from '../errors.js'
import { footerSize } from '../format/footer.js'
import {
  decodeFrameHeader,
  decodeHolePayload,
  decodeRepeatPayload,
  frameHeaderSize
} from '../format/frame.js'
import { decodeIndexPage, type Entry, type IndexPage } from '../format/index-page.js'
import { decodeIndexRoot } from '../format/index-root.js'
import { formatLimits } from '../limits.js'
import { shareDictionary, type SharedDictionary } from '../workers/prepared.js'
import { createBlockReader } from './block-reader.js'
import type { ByteSource } from './byte-source.js'
import { blockStreamOffset } from './check-block.js'
import { decodeDictionaryFrame } from './dictionary.js'
import { findFrames, type FoundFrame } from './damaged-frames.js'
import { createPlacer } from './placer.js'
import { createProvisional } from './provisional.js'
import { createRangeSet, missingFrom, type Range } from './ranges.js'
import { readHeader, readUnlocked, unlockHeader, type ReadHeader } from './structure.js'
import { blake3 } from '../format/digest.js'

/** Where recovered bytes go. What is not given stays a hole; what proves wrong later is overwritten with zeros. */
export interface RecoverTarget {
  writeAt(offset: number, bytes: Uint8Array): Promise<void>
}

export interface RecoverOptions extends Credentials {
  /** Number of the stream to get back. Default 0. */
  readonly stream?: number
  readonly signal?: AbortSignal
  /** Called with the bytes of the file searched so far. */
  readonly onProgress?: (searchedSize: number) => void
}

export interface RecoverResult {
  /** The snapshot is whole and undamaged, and every byte of the stream came back. */
  readonly isComplete: boolean
  /** Bytes of the stream, when an intact root tells. */
  readonly streamSize: number | undefined
  /** Bytes from the start without a gap. */
  readonly prefixSize: number
  readonly recovered: readonly Range[]
  /** Ranges of the stream before the last known byte that could not be got back. */
  readonly lost: readonly Range[]
  /** Ranges of the file that are no intact frames. */
  readonly damage: readonly Range[]
}

/**
 * Gets back what can be trusted of a snapshot that was cut off or damaged: every block whose checksum is
 * right and that decodes, at its place in the stream, held against the digests of the index pages that
 * survive. Blocks say their own place; holes and repeats behind damage get theirs from the next block or page.
 *
 * @throws CorruptError NOT_A_SNAPSHOT, or when no key slot opens and one is damaged; KeyError, UnsupportedError,
 * SourceError, LimitError; whatever `target` throws
 */
export async function recoverStream(
  source: ByteSource,
  target: RecoverTarget,
  { stream = 0, signal, onProgress, ...credentials }: RecoverOptions = {}
): Promise<RecoverResult> {
  const header = await findHeader(source, credentials)
  const sealing = header === undefined ? undefined : await unlockHeader(source, header, credentials)
  const start = header?.framesOffset ?? 0
  const restorer = createRestorer({ source, start, sealing }, stream, target)
  const damage: Range[] = []
  let isWhole = false
  try {
    if (header !== undefined)
      isWhole = (await attempt(() => readUnlocked(source, header, sealing))) !== undefined
    for await (const found of findFrames(source, start, isWhole ? source.size - footerSize : source.size)) {
      signal?.throwIfAborted()
      if (found.kind === 'frame') {
        await attempt(() => restorer.take(found))
        onProgress?.(found.offset)
      } else {
        damage.push({ start: found.start, end: found.end })
        restorer.skip()
      }
    }
  } finally {
    wipe(sealing?.dataKey)
  }
  const { recovered, lost, streamSize } = restorer.result()
  const first = recovered[0]
  return {
    isComplete: isWhole && lost.length === 0 && damage.length === 0,
    streamSize,
    prefixSize: first?.start === 0 ? first.end : 0,
    recovered,
    lost,
    damage
  }
}

interface Restorer {
  take(frame: FoundFrame): Promise<void>
  /** There was damage before the next frame. */
  skip(): void
  result(): Pick<RecoverResult, 'recovered' | 'lost' | 'streamSize'>
}

/** Puts the intact frames of one stream back in their places. */
function createRestorer({ source, start, sealing }: Frames, stream: number, target: RecoverTarget): Restorer {
  const recovered = createRangeSet()
  /** The first that is met: a snapshot has at most one, before the blocks that need it. */
  let dictionary: SharedDictionary | undefined
  const blocks = createBlockReader(source, start, sealing, () => Promise.resolve(dictionary))
  const placer = createPlacer(formatLimits.pageEntryCountMax)
  let streamSize: number | undefined
  /** The stream is at least this long. */
  let knownSize = 0
  const provisional = createProvisional(formatLimits.pageEntryCountMax)
  /** What pages have described: nothing that comes later can know better. */
  const settled = createRangeSet()

  const write = async (offset: number, bytes: Uint8Array): Promise<void> => {
    await target.writeAt(offset, bytes)
    recovered.add(offset, offset + bytes.length)
    knownSize = Math.max(knownSize, offset + bytes.length)
  }

  const takeBlock = async ({ offset, header, bytes }: FoundFrame): Promise<void> => {
    const streamOffset = blockStreamOffset(bytes, source.name)
    if (streamOffset + header.rawSize > formatLimits.streamSizeMax) throw misplaced(source.name, offset)
    await placer.settle(streamOffset)
    placer.moveTo(streamOffset + header.rawSize)
    knownSize = Math.max(knownSize, streamOffset + header.rawSize)
    const place = { blockOffset: offset, storedSize: bytes.length, rawSize: header.rawSize, innerOffset: 0 }
    const raw = await blocks.decode(bytes, place)
    await writeProvisional(streamOffset, raw)
  }

  const writeProvisional = async (offset: number, raw: Uint8Array): Promise<void> => {
    if (settled.touches(offset, offset + raw.length)) return
    await write(offset, raw)
    provisional.add({ offset, size: raw.length, digest: blake3(raw) })
  }

  const takeHole = (size: number): Promise<void> => {
    const restore = (offset: number): Promise<void> => {
      if (settled.touches(offset, offset + size)) return Promise.resolve()
      recovered.add(offset, offset + size)
      provisional.add({ offset, size })
      knownSize = Math.max(knownSize, offset + size)
      return Promise.resolve()
    }
    return placer.place({ size, restore })
  }

  /** Chunk by chunk: the block that one of them names may be lost, and the size of the next with it. */
  const takeRepeat = async ({ header, bytes }: FoundFrame): Promise<void> => {
    const blockOffsets = decodeRepeatPayload(bytes.subarray(frameHeaderSize), source.name)
    const restore = async (offset: number): Promise<void> => {
      knownSize = Math.max(knownSize, offset + header.rawSize)
      let at = offset
      for (const blockOffset of blockOffsets) {
        const raw = await attempt(() => blocks.readAt(blockOffset))
        if (raw === undefined) return
        await writeProvisional(at, raw)
        at += raw.length
      }
    }
    await placer.place({ size: header.rawSize, restore })
  }

  /** A chunk, at most 4 MiB, that was written in good faith and is wrong. */
  const takeBack = async (offset: number, size: number): Promise<void> => {
    recovered.remove(offset, offset + size)
    await target.writeAt(offset, new Uint8Array(size))
  }

  /** An intact page is the last word on what it describes. */
  const takePage = async (page: IndexPage): Promise<void> => {
    const { right, wrong } = provisional.judge(page)
    for (const { offset, size } of wrong) recovered.remove(offset, offset + size)
    for (const { offset, size } of right) recovered.add(offset, offset + size)
    for (const { offset, size, digest } of wrong) if (digest !== undefined) await takeBack(offset, size)
    const known = new Set(right.map((one) => one.offset))
    let offset = page.streamOffset
    for (const entry of page.entries) {
      const end = offset + entry.rawSize
      if (!known.has(offset) || !recovered.has(offset, end)) await restoreEntry(entry, offset)
      offset = end
    }
    settled.add(page.streamOffset, offset)
    placer.moveTo(offset)
    knownSize = Math.max(knownSize, offset)
  }

  const restoreEntry = async (entry: Entry, offset: number): Promise<void> => {
    const end = offset + entry.rawSize
    if (entry.kind === 'hole') {
      recovered.add(offset, end)
      return
    }
    const raw = await attempt(() => blocks.read(entry))
    if (raw !== undefined) await write(offset, raw)
    else if (recovered.touches(offset, end)) await takeBack(offset, entry.rawSize)
  }

  return {
    async take(found) {
      const frame = opened(found, sealing, source.name)
      const { header, bytes } = frame
      const payload = bytes.subarray(frameHeaderSize)
      const indexBytes = (): Promise<Uint8Array> => decodeIndexBytes(header.codec, payload, header.rawSize)
      if (header.type === 'root') {
        streamSize = decodeIndexRoot(await indexBytes(), source.name).streams[stream]?.size
        recovered.remove(streamSize ?? 0, Number.MAX_SAFE_INTEGER) // what was placed behind the end is wrong
      }
      if (header.type === 'dictionary' && dictionary === undefined) {
        const plain = decodeDictionaryFrame(bytes, source.name, frame.offset)
        dictionary = shareDictionary(plain, blake3(plain).toString('hex'))
      }
      if (header.stream !== stream) return
      if (header.type === 'block') await takeBlock(frame)
      if (header.type === 'hole') await takeHole(decodeHolePayload(payload, source.name))
      if (header.type === 'repeat') await takeRepeat(frame)
      if (header.type === 'page') await takePage(decodeIndexPage(await indexBytes(), source.name))
    },
    skip: () => placer.lose(),
    result: () => ({
      recovered: recovered.list(),
      lost: missingFrom(recovered, streamSize ?? knownSize),
      streamSize
    })
  }
}

function misplaced(where: string, offset: number): CorruptError {
  return new CorruptError(
    'BAD_STRUCTURE',
    `${where} is damaged: the block at byte ${offset} lies behind every stream`,
    {
      where,
      offset
    }
  )
}

/** The result, or `undefined` where the snapshot is damaged; other faults, such as a codec that is not installed, are thrown. */
async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    const isUnknown = error instanceof UnsupportedError && error.code !== 'NATIVE_MISSING'
    if (error instanceof CorruptError || isUnknown) return undefined
    throw error
  }
}

/** The frame inside a sealed one. */
function opened(found: FoundFrame, sealing: Sealing | undefined, where: string): FoundFrame {
  if (sealing === undefined) return found
  const bytes = openFrame(sealing, found.bytes, where, found.offset)
  return { ...found, bytes, header: decodeFrameHeader(bytes, where, found.offset) }
}

interface Frames {
  readonly source: ByteSource
  /** No frame lies before it. */
  readonly start: number
  readonly sealing: Sealing | undefined
}

/**
 * `undefined` when it is damaged: then the whole file is searched, for frames that are not sealed. Key slots
 * that do not open are no damage to search behind: sealed frames say nothing without the key. Nor is a header, where
 * something was given to open them with: frames that are not sealed are not of that snapshot.
 */
async function findHeader(source: ByteSource, credentials: Credentials): Promise<ReadHeader | undefined> {
  return readHeader(source).catch((error: unknown) => {
    if (!(error instanceof CorruptError) || error.code === 'NOT_A_SNAPSHOT') throw error
    if (!expectsEncryption(credentials)) return undefined
    throw new CorruptError(
      error.code,
      `${error.message}, and no key opens anything without it; put it back from a key backup, or allow plain snapshots (allowPlain, --allow-plain) to get back what is not encrypted`,
      error.details
    )
  })
}
