import { decodeIndexBytes, encodeIndexBytes } from '../compression/codecs.js'
import { LimitError } from '../errors.js'
import { formatLimits as limits } from '../limits.js'
import {
  decodeFooterBody,
  digestSnapshot,
  encodeFooter,
  encodeFooterBody,
  footerSize,
  splitFooter
} from './footer.js'
import { encodeFrame } from './frame.js'
import { decodeHeader, encodeHeader, keySlotsSize, type Header } from './header.js'
import { decodePageColumns, encodeIndexPage, holdsEntries, type Entry } from './index-page.js'
import {
  decodeIndexRoot,
  encodeIndexRoot,
  type DictionaryRef,
  type Handle,
  type PageRef,
  type StreamSummary
} from './index-root.js'
import { blake3 } from './digest.js'

/** Totals of a snapshot, final or so far. */
export interface SnapshotTotals {
  readonly streams: readonly StreamSummary[]
  /** Bytes of the file. */
  readonly fileSize: number
  readonly dictionary: DictionaryRef | undefined
  /** Set once the footer is made. */
  readonly snapshotDigest: Uint8Array | undefined
}

export interface PlacedChunk {
  readonly rawSize: number
  readonly digest: Uint8Array
  readonly handle: Handle
}

export interface IndexWriter {
  /** The header; the key slots of an encrypted snapshot have their place behind it. */
  readonly header: Uint8Array
  /** Where the next frame will lie. */
  readonly offset: number
  /** Assigns the next place in the file to a frame of that size, before sealing. */
  place(frameSize: number): Handle
  /** Entries that still fit the open page. */
  roomInPage(): number
  addBlock(stream: number, chunk: PlacedChunk): void
  addRepeat(stream: number, chunk: PlacedChunk): void
  addHole(stream: number, rawSize: number): void
  setDictionary(dictionary: DictionaryRef): void
  /** The open page as a frame that has its place; `undefined` when it is empty. */
  endPage(): Promise<Uint8Array | undefined>
  endRoot(): Promise<{ frame: Uint8Array; footer: Uint8Array; footerOffset: number }>
  totals(): SnapshotTotals
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Keeps the books of a snapshot that is being written. Every structure is decoded again before it is given out. */
export function createIndexWriter({
  header,
  sealOverhead = 0
}: {
  header: Header
  sealOverhead?: number
}): IndexWriter {
  const headerBytes = encodeHeader(header)
  decodeHeader(headerBytes, 'the header just made')
  const streams = header.streams.map((name): Mutable<StreamSummary> => ({
    name,
    size: 0,
    blockCount: 0,
    repeatCount: 0,
    holeCount: 0,
    blockRawSize: 0,
    blockStoredSize: 0,
    repeatSize: 0,
    holeSize: 0
  }))
  const pages: PageRef[] = []
  let dictionary: DictionaryRef | undefined
  let offset = headerBytes.length + keySlotsSize(header)
  let snapshotDigest: Uint8Array | undefined
  let entries: Entry[] = []
  let page = { stream: 0, streamOffset: 0 }

  const place = (frameSize: number): Handle => {
    const handle = { offset, size: frameSize + sealOverhead }
    offset += handle.size
    if (offset > limits.fileSizeMax) throw new LimitError('the snapshot would be larger than 2^48 bytes')
    return handle
  }

  const add = (streamNumber: number, entry: Entry): Mutable<StreamSummary> => {
    const stream = streams[streamNumber]
    if (stream === undefined) throw new RangeError(`the header names no stream ${streamNumber}`)
    if (entries.length === 0) page = { stream: streamNumber, streamOffset: stream.size }
    entries.push(entry)
    stream.size += entry.rawSize
    return stream
  }

  const addChunk = (
    kind: 'block' | 'repeat',
    stream: number,
    { rawSize, digest, handle }: PlacedChunk
  ): Mutable<StreamSummary> =>
    add(stream, {
      kind,
      rawSize,
      digest,
      blockOffset: handle.offset,
      storedSize: handle.size,
      innerOffset: 0
    })

  return {
    header: headerBytes,
    get offset() {
      return offset
    },
    place,
    roomInPage: () => limits.pageEntryCountMax - entries.length,
    addBlock(streamNumber, chunk) {
      const stream = addChunk('block', streamNumber, chunk)
      stream.blockCount += 1
      stream.blockRawSize += chunk.rawSize
      stream.blockStoredSize += chunk.handle.size
    },
    addRepeat(streamNumber, chunk) {
      const stream = addChunk('repeat', streamNumber, chunk)
      stream.repeatCount += 1
      stream.repeatSize += chunk.rawSize
    },
    addHole(streamNumber, rawSize) {
      const stream = add(streamNumber, { kind: 'hole', rawSize })
      stream.holeCount += 1
      stream.holeSize += rawSize
    },
    setDictionary(ref) {
      dictionary = ref
    },
    async endPage() {
      if (entries.length === 0) return undefined
      if (pages.length === limits.pageCountMax)
        throw new LimitError(
          `the snapshot would need more than ${limits.pageCountMax} index pages: use larger chunks`
        )
      const raw = encodeIndexPage({ ...page, entries })
      const decoded = decodePageColumns(raw, 'the index page just made')
      if (!holdsEntries(decoded, { ...page, entries })) throw wrongCodec('index page')
      const frame = await encodeIndexFrame('page', raw, page.stream)
      pages.push({ ...page, entryCount: entries.length, handle: place(frame.length), digest: blake3(raw) })
      entries = []
      return frame
    },
    async endRoot() {
      const raw = encodeIndexRoot({ streams, dictionary, pages })
      mustEqual('index root', raw, encodeIndexRoot(decodeIndexRoot(raw, 'the index root just made')))
      const frame = await encodeIndexFrame('root', raw, 0)
      const root = place(frame.length)
      const footerOffset = offset
      offset += footerSize
      snapshotDigest = digestSnapshot(headerBytes, raw)
      const footer = encodeFooter(encodeFooterBody({ root, fileSize: offset, snapshotDigest }))
      decodeFooterBody(splitFooter(footer, 'the footer just made').body, 'the footer just made', offset)
      return { frame, footer, footerOffset }
    },
    totals: () => ({
      streams: streams.map((stream) => ({ ...stream })),
      fileSize: offset,
      dictionary,
      snapshotDigest
    })
  }
}

async function encodeIndexFrame(type: 'page' | 'root', raw: Uint8Array, stream: number): Promise<Uint8Array> {
  const { codec, stored } = await encodeIndexBytes(raw)
  mustEqual(`compressed index ${type}`, raw, await decodeIndexBytes(codec, stored, raw.length))
  return encodeFrame(stored, { type, codec, stream, rawSize: raw.length })
}

/** A codec that does not give back what it got must stop the build, not make a snapshot that cannot be read. */
function mustEqual(what: string, expected: Uint8Array, found: Uint8Array): void {
  if (Buffer.compare(expected, found) !== 0) throw wrongCodec(what)
}

const wrongCodec = (what: string): Error =>
  new Error(`the ${what} just made does not decode to what was encoded`)
