import { blake3 } from '@napi-rs/blake-hash'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createBlockDecoder, decodeIndexBytes } from '../compression/codecs.js'
import { CorruptError, isHexzError, UnsupportedError } from '../errors.js'
import { footerSize } from '../format/footer.js'
import {
  decodeFrameHeader,
  decodeHolePayload,
  decodeRepeatPayload,
  frameHeaderSize
} from '../format/frame.js'
import { decodeIndexPage, type ChunkEntry, type IndexPage } from '../format/index-page.js'
import { decodeIndexRoot } from '../format/index-root.js'
import { formatLimits } from '../limits.js'
import type { ByteSource } from './byte-source.js'
import { blockStreamOffset, checkBlockFrame } from './check-block.js'
import { findFrames, type Found } from './damaged-frames.js'
import { createRangeSet, missingFrom, type Range } from './ranges.js'
import { readHeader, readStructure } from './structure.js'

/** Where recovered bytes go. Zeros are never given: what is not given stays a hole. */
export interface RecoverTarget {
  writeAt(offset: number, bytes: Uint8Array): Promise<void>
}

export interface RecoverOptions {
  /** Number of the stream to get back. Default 0. */
  readonly stream?: number
  readonly signal?: AbortSignal
  readonly onProgress?: (scannedSize: number) => void
}

export interface RecoverResult {
  /** The snapshot is whole and undamaged in structure, and every byte of the stream came back. */
  readonly isComplete: boolean
  /** Bytes of the stream, when an intact root or page tells. */
  readonly streamSize: number | undefined
  /** Bytes from the start without a gap. */
  readonly prefixSize: number
  readonly recovered: readonly Range[]
  /** Ranges of the stream before the last known byte that could not be got back. */
  readonly lost: readonly Range[]
  /** Ranges of the file that are no intact frames. */
  readonly damage: readonly Range[]
}

type Frame = Extract<Found, { kind: 'frame' }>

/** A hole or repeat whose place in the stream is not known, behind damage. */
interface Floating {
  readonly size: number
  readonly restore: (offset: number) => Promise<void>
}

/**
 * Gets back what can be trusted of a snapshot that was cut off or damaged: every block whose checksum is
 * right and that decodes, at its place in the stream, held against the digests of the index pages that
 * survive. Blocks say their own place; holes and repeats behind damage get theirs from the next block or page.
 *
 * @throws CorruptError NOT_A_SNAPSHOT; UnsupportedError, SourceError, whatever `target` throws
 */
export async function recoverStream(
  source: ByteSource,
  target: RecoverTarget,
  { stream = 0, signal, onProgress }: RecoverOptions = {}
): Promise<RecoverResult> {
  const isWhole = await isStructureWhole(source)
  const start = await framesStart(source)
  const recovered = createRangeSet()
  const damage: Range[] = []
  const decode = createBlockDecoder()

  /** Where the next frame's bytes belong, or `undefined` behind damage. */
  let cursor: number | undefined = 0
  let floating: Floating[] = []
  let floatingSize = 0
  let streamSize: number | undefined
  let knownEnd = 0
  /** Digests of the blocks since the last page, by place. */
  const fresh = new Map<number, { size: number; digest: Uint8Array }>()

  const write = async (offset: number, bytes: Uint8Array): Promise<void> => {
    await target.writeAt(offset, bytes)
    recovered.add(offset, offset + bytes.length)
    knownEnd = Math.max(knownEnd, offset + bytes.length)
  }

  const readBlock = async (
    offset: number,
    frameSize: number,
    rawSize: number,
    innerOffset: number,
    digest?: Uint8Array
  ): Promise<Uint8Array> => {
    if (offset < start || offset + frameSize > source.size)
      throw new CorruptError('BAD_STRUCTURE', 'a repeat names a block that is not there')
    const frame = await source.read(offset, frameSize)
    const place = {
      start: 0,
      storedSize: frameSize,
      offset,
      rawStart: 0,
      rawSize,
      innerOffset,
      ...(digest === undefined ? {} : { digest })
    }
    await nextTurn() // the bindings free their buffers then
    return checkBlockFrame(frame, place, decode, source.name)
  }

  /** The plain bytes of a block by its offset alone. */
  const readBlockAt = async (offset: number): Promise<Uint8Array> => {
    if (offset < start || offset + frameHeaderSize > source.size)
      throw new CorruptError('BAD_STRUCTURE', 'a repeat names a block that is not there')
    const header = decodeFrameHeader(await source.read(offset, frameHeaderSize), source.name, offset)
    return readBlock(offset, frameHeaderSize + header.payloadSize, header.rawSize, 0)
  }

  /** Puts what floats at its place, now that the place behind it is known. */
  const settle = async (end: number): Promise<void> => {
    let offset = end - floatingSize
    for (const { size, restore } of floating) {
      if (offset >= 0) await restore(offset)
      offset += size
    }
    floating = []
    floatingSize = 0
  }

  const place = async (item: Floating): Promise<void> => {
    if (cursor === undefined) {
      floating.push(item)
      floatingSize += item.size
      if (floating.length > formatLimits.pageEntryCountMax) loseCursor()
      return
    }
    await item.restore(cursor)
    cursor += item.size
  }

  const loseCursor = (): void => {
    cursor = undefined
    floating = []
    floatingSize = 0
  }

  const takeBlock = async ({ offset, header, bytes }: Frame): Promise<void> => {
    const streamOffset = blockStreamOffset(bytes, source.name)
    if (streamOffset + header.rawSize > formatLimits.streamSizeMax)
      throw new CorruptError('BAD_STRUCTURE', 'a block lies behind every stream')
    if (floating.length > 0) await settle(streamOffset)
    cursor = streamOffset + header.rawSize
    knownEnd = Math.max(knownEnd, cursor)
    const raw = checkBlockFrame(
      bytes,
      { start: 0, storedSize: bytes.length, offset, rawStart: 0, rawSize: header.rawSize, innerOffset: 0 },
      decode,
      source.name
    )
    await write(streamOffset, raw)
    if (fresh.size < formatLimits.pageEntryCountMax)
      fresh.set(streamOffset, { size: raw.length, digest: blake3(raw) })
    await nextTurn()
  }

  const takeHole = (size: number): Promise<void> =>
    place({
      size,
      restore(offset) {
        recovered.add(offset, offset + size)
        knownEnd = Math.max(knownEnd, offset + size)
        return Promise.resolve()
      }
    })

  /** Places each chunk of a repeat for itself: what one of them names may be lost. */
  const takeRepeat = async ({ header, bytes }: Frame): Promise<void> => {
    const blockOffsets = decodeRepeatPayload(bytes.subarray(frameHeaderSize), source.name)
    const restore = async (offset: number): Promise<void> => {
      let at = offset
      for (const blockOffset of blockOffsets) {
        const raw = await attempt(() => readBlockAt(blockOffset))
        if (raw === undefined) return // sizes of the rest are in lost blocks too; a page may still tell
        await write(at, raw)
        at += raw.length
      }
    }
    await place({ size: header.rawSize, restore })
    knownEnd = Math.max(knownEnd, cursor ?? 0)
  }

  /** An intact page is the last word on what it describes. */
  const takePage = async (page: IndexPage): Promise<void> => {
    let offset = page.streamOffset
    for (const entry of page.entries) {
      const end = offset + entry.rawSize
      const found = fresh.get(offset)
      const isWrong =
        entry.kind === 'block' &&
        entry.innerOffset === 0 &&
        found?.size === entry.rawSize &&
        Buffer.compare(found.digest, entry.digest) !== 0
      if (isWrong) recovered.remove(offset, end)
      else if (!recovered.has(offset, end)) await restoreEntry(entry, offset)
      offset = end
    }
    fresh.clear()
    floating = []
    floatingSize = 0
    cursor = offset
    knownEnd = Math.max(knownEnd, offset)
  }

  const restoreEntry = async (entry: IndexPage['entries'][number], offset: number): Promise<void> => {
    if (entry.kind === 'hole') {
      recovered.add(offset, offset + entry.rawSize)
      return
    }
    const { blockOffset, storedSize, rawSize, innerOffset, digest }: ChunkEntry = entry
    const raw = await attempt(() => readBlock(blockOffset, storedSize, rawSize, innerOffset, digest))
    if (raw !== undefined) await write(offset, raw)
  }

  const takeFrame = async (frame: Frame): Promise<void> => {
    const { header, bytes } = frame
    const payload = bytes.subarray(frameHeaderSize)
    if (header.type === 'root') {
      const root = decodeIndexRoot(await decodeIndexBytes(header.codec, payload, header.rawSize), source.name)
      streamSize = root.streams[stream]?.size
    } else if (header.stream !== stream) {
      return
    } else if (header.type === 'block') {
      await takeBlock(frame)
    } else if (header.type === 'hole') {
      await takeHole(decodeHolePayload(payload, source.name))
    } else if (header.type === 'repeat') {
      await takeRepeat(frame)
    } else if (header.type === 'page') {
      await takePage(
        decodeIndexPage(await decodeIndexBytes(header.codec, payload, header.rawSize), source.name)
      )
    }
  }

  const end = isWhole ? source.size - footerSize : source.size
  for await (const found of findFrames(source, start, end)) {
    signal?.throwIfAborted()
    if (found.kind === 'frame') {
      await attempt(() => takeFrame(found))
      onProgress?.(found.offset)
      continue
    }
    damage.push({ start: found.start, end: found.end })
    loseCursor()
  }

  const lost = missingFrom(recovered, streamSize ?? knownEnd)
  const first = recovered.list()[0]
  const prefixSize = first?.start === 0 ? first.end : 0
  return {
    isComplete: isWhole && lost.length === 0 && damage.length === 0,
    streamSize,
    prefixSize,
    recovered: recovered.list(),
    lost,
    damage
  }
}

/** The result, or `undefined` where the snapshot is damaged; other faults are thrown. */
async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof CorruptError || error instanceof UnsupportedError) return undefined
    throw error
  }
}

async function isStructureWhole(source: ByteSource): Promise<boolean> {
  try {
    await readStructure(source)
    return true
  } catch (error) {
    if (error instanceof CorruptError) return false
    throw error
  }
}

/** Behind the header; when that is damaged, the whole file is searched. */
async function framesStart(source: ByteSource): Promise<number> {
  try {
    return (await readHeader(source)).framesOffset
  } catch (error) {
    if (!isHexzError(error) || error.code === 'NOT_A_SNAPSHOT' || error instanceof UnsupportedError)
      throw error
    return 0
  }
}
