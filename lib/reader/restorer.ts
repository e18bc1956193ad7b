import { decodeIndexBytes } from '../compression/codecs.js'
import { openFrame, type Sealing } from '../crypto/sealing.js'
import { CorruptError, UnsupportedError } from '../errors.js'
import { blake3 } from '../format/digest.js'
import {
  decodeFrameHeader,
  decodeHolePayload,
  decodeRepeatPayload,
  frameHeaderSize,
  type FrameTypeName
} from '../format/frame.js'
import { blockSizesOf, decodeIndexPage, entriesOf, type Entry, type IndexPage } from '../format/index-page.js'
import { decodeIndexRoot } from '../format/index-root.js'
import { formatLimits, memoryLimits } from '../limits.js'
import { countOutput, freeOutput } from '../workers/collect.js'
import { shareDictionary, type SharedDictionary } from '../workers/prepared.js'
import { createBlockReader } from './block-reader.js'
import type { ByteSource } from './byte-source.js'
import { blockStreamOffset } from './check-block.js'
import { createEffort } from './effort.js'
import { decodeDictionaryFrame, readDictionary } from './dictionary.js'
import type { FoundFrame } from './damaged-frames.js'
import { pageAfter } from './find-page.js'
import { createPlacer } from './placer.js'
import { createProvisional } from './provisional.js'
import { canReach, jumpMax, type RecoverTarget } from './recover-target.js'
import { createRangeSet, missingFrom, type Range, type RangeSet } from './ranges.js'
import { readPageColumns, type Structure } from './structure.js'

export interface RestoreContext {
  readonly source: ByteSource
  /** No frame lies before it. */
  readonly start: number
  readonly sealing: Sealing | undefined
  /** When footer and root are intact. */
  readonly structure: Structure | undefined
  /** Takes the places of frames that are intact by their checksum, and cannot be what they say. */
  readonly damage: RangeSet
}

export interface Restorer {
  take(frame: FoundFrame): Promise<void>
  /** There was damage before the next frame. */
  skip(): void
  result(): {
    readonly recovered: readonly Range[]
    readonly lost: readonly Range[]
    readonly streamSize: number | undefined
  }
}

/** Puts the intact frames of one stream back in their places. */
export function createRestorer(context: RestoreContext, stream: number, target: RecoverTarget): Restorer {
  const { source, start, sealing, structure, damage } = context
  const recovered = createRangeSet()
  /** The first that is met: a snapshot has at most one, before the blocks that need it. */
  let dictionary: SharedDictionary | undefined
  const effort = createEffort(source)
  const blocks = createBlockReader(
    source,
    start,
    sealing,
    () => Promise.resolve(dictionary),
    (size) => {
      effort.spend(size)
    }
  )
  let streamSize = structure?.root.streams[stream]?.size
  const endMax = streamSize ?? formatLimits.streamSizeMax
  const placer = createPlacer(formatLimits.pageEntryCountMax, endMax)
  /** The stream is at least this long. */
  let knownSize = 0
  const provisional = createProvisional(formatLimits.pageEntryCountMax)
  /** What pages have described: nothing that comes later can know better. */
  const settled = createRangeSet()

  const contradicts = (offset: number, why: string): CorruptError =>
    new CorruptError('BAD_STRUCTURE', `${source.name} is damaged at byte ${offset}: ${why}`, {
      where: source.name,
      offset
    })

  /** To be called before anything is said of bytes up to `end`. */
  const extend = async (end: number, frameOffset: number): Promise<void> => {
    if (end > endMax) throw contradicts(frameOffset, 'the frame there lies behind the end of the stream')
    const isJump = streamSize === undefined && end > knownSize + jumpMax
    if (isJump && !(await canReach(target, end)))
      throw contradicts(
        frameOffset,
        `the frame there reaches to byte ${end} of the stream, further than the target can`
      )
    knownSize = Math.max(knownSize, end)
  }

  const write = async (offset: number, bytes: Uint8Array): Promise<void> => {
    if (!recovered.touches(offset, offset + bytes.length)) effort.earn(bytes.length)
    await target.writeAt(offset, bytes)
    recovered.add(offset, offset + bytes.length)
  }

  const takeBlock = async (found: FoundFrame): Promise<void> => {
    const { offset, header, bytes } = found
    const streamOffset = blockStreamOffset(bytes, source.name)
    const end = streamOffset + header.rawSize
    await extend(end, offset)
    await placer.settle(streamOffset)
    placer.moveTo(end)
    const chunk = { blockOffset: offset, storedSize: found.size, rawSize: header.rawSize, innerOffset: 0 }
    const raw = await attempt(() => blocks.decode(bytes, chunk))
    if (raw === undefined) blame(found)
    else await writeProvisional(streamOffset, raw)
  }

  const writeProvisional = async (offset: number, raw: Uint8Array): Promise<void> => {
    if (settled.touches(offset, offset + raw.length)) return
    await write(offset, raw)
    provisional.add({ offset, size: raw.length, digest: blake3(raw) })
  }

  /** Where a frame may only learn later where it belongs, it is blamed for itself, not the frame that told. */
  const place = async (
    found: FoundFrame,
    size: number,
    put: (offset: number) => Promise<void>
  ): Promise<void> => {
    const restore = async (offset: number): Promise<void> => {
      const isRight = await attempt(async () => {
        await extend(offset + size, found.offset)
        await put(offset)
        return true
      })
      if (isRight !== undefined) return
      blame(found)
      placer.lose()
    }
    if (!(await placer.place({ size, restore }))) blame(found)
  }

  const takeHole = async (found: FoundFrame): Promise<void> => {
    const size = decodeHolePayload(found.bytes.subarray(frameHeaderSize), source.name)
    await place(found, size, (offset) => {
      if (settled.touches(offset, offset + size)) return Promise.resolve()
      recovered.add(offset, offset + size)
      provisional.add({ offset, size })
      return Promise.resolve()
    })
  }

  /** Chunk by chunk: the block that one of them names may be lost, and the size of the next with it. */
  const takeRepeat = async (found: FoundFrame): Promise<void> => {
    const { header, bytes } = found
    const blockOffsets = decodeRepeatPayload(bytes.subarray(frameHeaderSize), source.name)
    await place(found, header.rawSize, async (offset) => {
      const end = offset + header.rawSize
      let at = offset
      for (const blockOffset of blockOffsets) {
        const raw = blockOffset < found.offset ? await attempt(() => blocks.readAt(blockOffset)) : undefined
        if (raw === undefined) return
        if (raw.length > end - at) break
        await writeProvisional(at, raw)
        at += raw.length
      }
      if (at === end) return
      if (!settled.touches(offset, end)) {
        provisional.forget(offset, at)
        await takeBack(offset, at - offset)
      }
      throw contradicts(found.offset, 'the repeats there are not as long as their frame says')
    })
  }

  /** Bytes that were written in good faith and are wrong. */
  const takeBack = async (offset: number, size: number): Promise<void> => {
    recovered.remove(offset, offset + size)
    for (let done = 0; done < size; done += memoryLimits.runSize)
      await target.writeAt(offset + done, new Uint8Array(Math.min(memoryLimits.runSize, size - done)))
  }

  /** An intact page is the last word on what it describes. */
  const takePage = async (page: IndexPage, frameOffset: number): Promise<void> => {
    const pageEnd = page.entries.reduce((end, entry) => end + entry.rawSize, page.streamOffset)
    await extend(pageEnd, frameOffset)
    const { right, wrong } = provisional.judge(page)
    for (const { offset, size } of wrong) recovered.remove(offset, offset + size)
    for (const { offset, size } of right) recovered.add(offset, offset + size)
    for (const { offset, size, digest } of wrong) if (digest !== undefined) await takeBack(offset, size)
    const known = new Set(right.map((one) => one.offset))
    const blockSizes = blockSizesOf(page)
    let offset = page.streamOffset
    for (const [index, entry] of page.entries.entries()) {
      const end = offset + entry.rawSize
      const isThere = known.has(offset) && recovered.has(offset, end)
      if (!isThere) await restoreEntry(entry, offset, blockSizes[index])
      offset = end
    }
    settled.add(page.streamOffset, offset)
    placer.moveTo(offset)
  }

  const restoreEntry = async (entry: Entry, offset: number, blockSize: number | undefined): Promise<void> => {
    const end = offset + entry.rawSize
    if (entry.kind === 'hole') {
      recovered.add(offset, end)
      return
    }
    const raw = await attempt(() => blocks.read({ ...entry, blockSize }))
    if (raw !== undefined) await write(offset, raw)
    else if (recovered.touches(offset, end)) await takeBack(offset, entry.rawSize)
  }

  const dictionaryOf = async ({
    offset,
    header,
    bytes
  }: FoundFrame): Promise<SharedDictionary | undefined> => {
    if (structure !== undefined) {
      if (structure.root.dictionary?.handle.offset !== offset)
        throw contradicts(offset, 'the dictionary there is not the one the root names')
      return readDictionary({ source, root: structure.root, sealing })
    }
    effort.spend(header.rawSize)
    const plain = decodeDictionaryFrame(bytes, source.name, offset)
    return shareDictionary(plain, blake3(plain).toString('hex'))
  }

  /** Of a page or root that nothing vouches for. */
  const indexBytesOf = async ({ header, bytes }: FoundFrame): Promise<Uint8Array> => {
    effort.spend(header.rawSize)
    if (header.rawSize > memoryLimits.decodeGarbageMax) await freeOutput()
    else countOutput(header.rawSize, memoryLimits.decodeGarbageMax)
    return decodeIndexBytes(header.codec, bytes.subarray(frameHeaderSize), header.rawSize)
  }

  const pageOf = async (found: FoundFrame): Promise<IndexPage> => {
    if (structure === undefined) return decodeIndexPage(await indexBytesOf(found), source.name)
    const { offset } = found
    const number = pageAfter(structure.root, offset - 1)
    if (structure.root.pages.at(number)?.handle.offset !== offset)
      throw contradicts(offset, 'the index page there is none that the root names')
    return entriesOf(await readPageColumns(source, structure, number))
  }

  const takeOpened = async (found: FoundFrame): Promise<void> => {
    const { header, offset } = found
    if (header.type === 'root' && structure === undefined) {
      streamSize = decodeIndexRoot(await indexBytesOf(found), source.name).streams[stream]?.size
      recovered.remove(streamSize ?? 0, Number.MAX_SAFE_INTEGER) // what was placed behind the end is wrong
    }
    if (header.type === 'dictionary' && dictionary === undefined) dictionary = await dictionaryOf(found)
    if (header.stream !== stream) return
    if (header.type === 'block') await takeBlock(found)
    if (header.type === 'hole') await takeHole(found)
    if (header.type === 'repeat') await takeRepeat(found)
    if (header.type === 'page') {
      const page = await pageOf(found)
      if (page.stream !== stream) throw contradicts(offset, 'the index page there belongs to another stream')
      await takePage(page, offset)
    }
  }

  /** The frame cannot be what it says, and nothing after it takes its place from it. */
  const blame = ({ offset, size }: FoundFrame): void => {
    damage.add(offset, offset + size)
  }

  return {
    async take(found) {
      const isRight = await attempt(async () => {
        await takeOpened(opened(found, sealing, source.name))
        return true
      })
      if (isRight !== undefined) return
      blame(found)
      if (!tellsNoPlace.has(found.header.type)) placer.lose()
    },
    skip: () => placer.lose(),
    result: () => ({
      recovered: recovered.list(),
      lost: missingFrom(recovered, streamSize ?? knownSize),
      streamSize
    })
  }
}

/** Whether an error says that the snapshot is damaged; others are no reason to go on without what failed. */
export function isDamage(error: unknown): error is CorruptError | UnsupportedError {
  if (error instanceof UnsupportedError) return error.code !== 'NATIVE_MISSING' // which says nothing of the snapshot
  return error instanceof CorruptError
}

/** The result, or `undefined` where the snapshot is damaged; other faults are thrown. */
async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (isDamage(error)) return undefined
    throw error
  }
}

/** Frames between which nothing takes its place from its neighbour. */
const tellsNoPlace = new Set<FrameTypeName | 'skip'>(['page', 'root', 'dictionary', 'skip'])

/** The frame inside a sealed one. */
function opened(found: FoundFrame, sealing: Sealing | undefined, where: string): FoundFrame {
  if (sealing === undefined) return found
  const bytes = openFrame(sealing, found.bytes, where, found.offset)
  return { ...found, bytes, header: decodeFrameHeader(bytes, where, found.offset) }
}
