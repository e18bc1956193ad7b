import { decodeIndexBytes } from '../compression/codecs.js'
import { makeSealing, openFooter, openFrame, wipe, type Sealing } from '../crypto/sealing.js'
import { expectsEncryption, refusePlain, unlock, type Credentials } from '../crypto/unlock.js'
import { CorruptError } from '../errors.js'
import { decodeFooterBody, digestSnapshot, footerSize, splitFooter, type Footer } from '../format/footer.js'
import { checkFrame, decodeFrameHeader, frameHeaderSize, type FrameTypeName } from '../format/frame.js'
import {
  cutHeader,
  decodeHeader,
  headerPreludeSize,
  keySlotsSize,
  readHeaderSize,
  type Header
} from '../format/header.js'
import {
  decodePageColumns,
  entriesOf,
  isHoleAt,
  isRepeatAt,
  type IndexPage,
  type PageColumns
} from '../format/index-page.js'
import { decodeIndexRoot, type Handle, type IndexRoot, type PageRef } from '../format/index-root.js'
import type { ByteSource } from './byte-source.js'
import { blake3 } from '../format/digest.js'

/** What is read when a snapshot is opened: a few kilobytes, whatever its size. */
export interface Structure {
  readonly header: Header
  /** Where the frames start: behind header and key slots. */
  readonly framesOffset: number
  readonly root: IndexRoot
  readonly footer: Footer
  /** What opens the frames of an encrypted snapshot. */
  readonly sealing: Sealing | undefined
}

/**
 * Reads and checks header, footer and index root.
 *
 * @throws CorruptError, KeyError, LimitError, UnsupportedError, SourceError; the data key is wiped then
 */
export async function readStructure(source: ByteSource, credentials: Credentials = {}): Promise<Structure> {
  const header = await readHeader(source)
  const sealing = await unlockHeader(source, header, credentials)
  try {
    return await readUnlocked(source, header, sealing)
  } catch (error) {
    wipe(sealing?.dataKey)
    throw error
  }
}

/** The rest of it, behind a header that was read and unlocked. @throws CorruptError, UnsupportedError, SourceError */
export async function readUnlocked(
  source: ByteSource,
  { header, bytes, framesOffset }: ReadHeader,
  sealing: Sealing | undefined
): Promise<Structure> {
  const { name } = source
  const end = await source.read(Math.max(0, source.size - footerSize), Math.min(footerSize, source.size))
  const sealedFooter = splitFooter(end, name)
  if (sealing === undefined && sealedFooter.tag.some((byte) => byte !== 0))
    throw new CorruptError(
      'BAD_STRUCTURE',
      `the footer of ${name} is damaged: it has a tag, and nothing is encrypted`,
      {
        where: name,
        offset: source.size - footerSize
      }
    )
  const body =
    sealing === undefined
      ? sealedFooter.body
      : openFooter(sealing, sealedFooter, name, source.size - footerSize)
  const footer = decodeFooterBody(body, name, source.size)
  const rootRaw = await readIndexFrame(source, sealing, footer.root, 'root', 0)
  if (Buffer.compare(digestSnapshot(bytes, rootRaw), footer.snapshotDigest) !== 0) {
    throw new CorruptError(
      'BAD_DIGEST',
      `${source.name} is damaged: header and index do not give the snapshot digest`,
      {
        where: source.name,
        expected: Buffer.from(footer.snapshotDigest).toString('hex')
      }
    )
  }
  const root = decodeIndexRoot(rootRaw, `the index root of ${source.name}`)
  checkRoot(root, header, source.name, framesOffset, footer.root.offset)
  return { header, framesOffset, root, footer, sealing }
}

/** A header and where the frames behind it start. */
export interface ReadHeader {
  readonly header: Header
  /** Without key slots. */
  readonly bytes: Uint8Array
  readonly framesOffset: number
}

/** @throws CorruptError, UnsupportedError */
export async function readHeader(source: ByteSource): Promise<ReadHeader> {
  const { name } = source
  const size = readHeaderSize(await source.read(0, Math.min(headerPreludeSize, source.size)), name)
  if (size > source.size) throw cutHeader(name)
  const bytes = await source.read(0, size)
  const header = decodeHeader(bytes, name)
  const framesOffset = size + keySlotsSize(header)
  if (framesOffset > source.size) throw cutHeader(name)
  return { header, bytes, framesOffset }
}

/**
 * What opens the frames; `undefined` when they are not sealed.
 *
 * @throws KeyError, CorruptError, LimitError, UnsupportedError
 */
export async function unlockHeader(
  source: ByteSource,
  { header, bytes, framesOffset }: ReadHeader,
  credentials: Credentials
): Promise<Sealing | undefined> {
  if (!header.encrypted) {
    if (expectsEncryption(credentials)) throw refusePlain(source.name)
    return undefined
  }
  const slots = await source.read(bytes.length, framesOffset - bytes.length)
  const dataKey = await unlock(slots, blake3(bytes), credentials, source.name)
  const sealing = makeSealing(dataKey, bytes)
  wipe(dataKey)
  return sealing
}

/** The entries of one page, after every check against the root. */
export async function readPage(
  source: ByteSource,
  structure: PageContext,
  number: number
): Promise<IndexPage> {
  return entriesOf(await readPageColumns(source, structure, number))
}

/** The same as columns. */
export async function readPageColumns(
  source: ByteSource,
  context: PageContext,
  number: number
): Promise<PageColumns> {
  const { root, sealing, framesOffset } = context
  const ref = root.pages.at(number)
  if (ref === undefined) throw new RangeError(`there is no index page ${number}`)
  const raw = await readIndexFrame(source, sealing, ref.handle, 'page', ref.stream)
  if (Buffer.compare(blake3(raw), ref.digest) !== 0) {
    throw new CorruptError(
      'BAD_DIGEST',
      `${source.name} is damaged at byte ${ref.handle.offset}: the index page there is not the one the root names`,
      {
        where: source.name,
        offset: ref.handle.offset
      }
    )
  }
  const page = decodePageColumns(raw, `the index page at byte ${ref.handle.offset} of ${source.name}`)
  checkPage(page, ref, endOfPage(root, number), source.name)
  checkBlocks(
    page,
    { start: startOfPage(context, number), end: ref.handle.offset, framesOffset },
    source.name
  )
  return page
}

/** Where the stream's bytes that a page describes end. */
export function endOfPage(root: IndexRoot, number: number): number {
  const { pages } = root
  if (number < 0 || number >= pages.length) return 0
  const stream = pages.streamAt(number)
  const hasNext = number + 1 < pages.length && pages.streamAt(number + 1) === stream
  return hasNext ? pages.streamOffsetAt(number + 1) : (root.streams[stream]?.size ?? 0)
}

/** Where the frames that a page describes start in the file: after the page before it. */
export function startOfPage({ root, framesOffset }: PageContext, number: number): number {
  const before = root.pages.at(number - 1)
  return before === undefined ? framesOffset : before.handle.offset + before.handle.size
}

/** What a page is read with. */
export type PageContext = Pick<Structure, 'root' | 'sealing' | 'framesOffset'>

async function readIndexFrame(
  source: ByteSource,
  sealing: Sealing | undefined,
  handle: Handle,
  type: FrameTypeName,
  stream: number
): Promise<Uint8Array> {
  const { name } = source
  const { offset, size } = handle
  const broken = (why: string): CorruptError =>
    new CorruptError('BAD_STRUCTURE', `${name} is damaged at byte ${offset}: ${why}`, { where: name, offset })
  if (size < frameHeaderSize || offset + size > source.size)
    throw broken(`no index ${type} of ${size} bytes fits there`)
  const stored = await source.read(offset, size)
  const frame = sealing === undefined ? stored : openFrame(sealing, stored, name, offset)
  if (sealing === undefined) checkFrame(frame, name, offset)
  const header = decodeFrameHeader(frame, name, offset)
  if (header.type !== type || frameHeaderSize + header.payloadSize !== frame.length) {
    throw broken(`expected an index ${type}, found a ${header.type} frame`)
  }
  if (header.stream !== stream) throw broken(`the index ${type} there belongs to another stream`)
  return decodeIndexBytes(header.codec, frame.subarray(frameHeaderSize), header.rawSize)
}

/** Pages must cover each stream from its start to its end, in file order, inside the frames. */
function checkRoot(
  root: IndexRoot,
  header: Header,
  where: string,
  framesOffset: number,
  rootOffset: number
): void {
  const broken = (why: string): CorruptError =>
    new CorruptError('BAD_STRUCTURE', `the index root of ${where} is damaged: ${why}`, { where })
  const isSame = root.streams.every(({ name }, number) => name === header.streams[number])
  if (!isSame || root.streams.length !== header.streams.length)
    throw broken('its streams are not those of the header')
  let stream = 0
  let streamOffset = 0
  let fileOffset = framesOffset
  let number = -1
  for (const page of root.pages) {
    number += 1
    for (; stream < page.stream && streamOffset === root.streams[stream]?.size; stream++) streamOffset = 0
    if (page.stream !== stream || page.streamOffset !== streamOffset)
      throw broken(`page ${number} does not follow the one before it`)
    if (page.handle.offset < fileOffset || page.handle.offset + page.handle.size > rootOffset)
      throw broken(`page ${number} lies outside the frames`)
    streamOffset = endOfPage(root, number)
    if (streamOffset <= page.streamOffset) throw broken(`page ${number} describes nothing`)
    fileOffset = page.handle.offset + page.handle.size
  }
  for (; streamOffset === root.streams[stream]?.size; stream++) streamOffset = 0
  if (stream !== root.streams.length) throw broken('its pages do not reach the end of every stream')
  if (fileOffset !== rootOffset) throw broken('there are frames behind its last page')
}

function checkPage(page: PageColumns, ref: PageRef, end: number, where: string): void {
  const { offset } = ref.handle
  const broken = (why: string): CorruptError =>
    new CorruptError('BAD_STRUCTURE', `${where} is damaged at byte ${offset}: ${why}`, { where, offset })
  if (
    page.stream !== ref.stream ||
    page.streamOffset !== ref.streamOffset ||
    page.entryCount !== ref.entryCount ||
    page.starts[page.entryCount] !== end
  ) {
    throw broken('the index page there describes other bytes than the root says')
  }
}

/** Blocks lie among the frames that the page describes, and those of repeats before its end. */
function checkBlocks(
  page: PageColumns,
  { start, end, framesOffset }: { start: number; end: number; framesOffset: number },
  where: string
): void {
  for (let index = 0; index < page.entryCount; index++) {
    if (isHoleAt(page, index)) continue
    const offset = page.blockOffsets[index] ?? 0
    const first = isRepeatAt(page, index) ? framesOffset : start
    if (offset >= first && offset + (page.storedSizes[index] ?? 0) <= end) continue
    const why = 'an index entry names a block that does not lie before its page'
    throw new CorruptError('BAD_STRUCTURE', `${where} is damaged at byte ${end}: ${why}`, {
      where,
      offset: end
    })
  }
}
