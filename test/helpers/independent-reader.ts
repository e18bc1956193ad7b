/**
 * A second reader of snapshots, written from docs/format.md alone: it shares no code with the project, so
 * that the document, and not the code, says what a snapshot is. Numbers in comments are sections of the
 * document. The whole file lies in memory, and nothing is fast.
 */
import { blake3 } from '@napi-rs/blake-hash'
import { Fields, MiB, must } from './independent/bytes.js'
import { blockPlain, frameAt, open, plainOf } from './independent/frames.js'
import type { Credentials, Frame, Header } from './independent/frames.js'
import { footerSize, parseFooter, parsePage, parseRoot, snapshotDigest } from './independent/tables.js'
import type { Chunk, PageRef } from './independent/tables.js'

export { Refused } from './independent/bytes.js'

export interface Contents {
  readonly header: Header
  readonly streams: ReadonlyMap<string, Buffer>
  readonly digest: Buffer
}
/** A stream in order: bytes, and sizes of holes, which may be larger than any memory. */
export type Pieces = readonly (Buffer | number)[]

/** By the index, any range (10, "Open" and "Read a range"). */
export function openIndexed(file: Buffer, credentials: Credentials = {}) {
  const context = open(file, credentials)
  const { header } = context
  must(file.length >= header.framesOffset + footerSize, 'ends before a footer', 'incomplete')
  const { rootOffset, rootSize, digest: snapshot } = parseFooter(context, file.length - footerSize)
  must(rootOffset >= header.framesOffset, 'place of the root')
  const rootFrame = frameAt(context, rootOffset)
  must(rootFrame.size === rootSize, 'size of the root')
  const root = parseRoot(context, rootFrame)
  must(snapshotDigest(context, root.plain).equals(snapshot), 'snapshot digest')
  /** Read when a block needs it. */
  function dictionaryFor({ flags }: Frame): void {
    if (flags === 0 || context.dictionary || !root.dictionary) return
    const { offset, size, rawSize, digest } = root.dictionary
    const frame = frameAt(context, offset)
    must(frame.type === 1 && frame.size === size, 'dictionary frame')
    const plain = plainOf(frame)
    must(plain.length === rawSize, 'size of the dictionary')
    must(blake3(plain).equals(digest), 'digest of the dictionary')
    context.dictionary = plain
  }
  function chunkBytes(chunk: Chunk, stream: number): Buffer {
    const frame = frameAt(context, chunk.block)
    must(frame.type === 2 && frame.size === chunk.storedSize, 'block frame')
    must(frame.rawSize === chunk.all.size, 'plain size of a block')
    dictionaryFor(frame)
    const plain = blockPlain(context, frame)
    if (chunk.kind === 'repeat') must(plain.length === chunk.size, 'a repeat of a part')
    else {
      const start = new Fields(frame.payload).u64()
      must(
        frame.stream === stream && start === chunk.streamOffset - chunk.inner,
        'place of a block in its stream'
      )
    }
    const bytes = plain.subarray(chunk.inner, chunk.inner + chunk.size)
    must(bytes.length === chunk.size && blake3(bytes).equals(chunk.digest), 'digest of a chunk')
    return bytes
  }
  /**
   * @param anyCopy a chunk that cannot be read may come from another one with its digest, anywhere in the range: a reader
   *   may read what it wants twice once
   */
  function read(name: string, start = 0, stop = Infinity, anyCopy = false): Buffer {
    const stream = header.names.indexOf(name)
    const own = root.ordered[stream]
    if (!own) throw new RangeError(`no stream ${name}`)
    const parts: (() => Buffer)[] = []
    const intact = new Map<string, Buffer>()
    let [low, high] = [0, own.length]
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if ((own[middle]?.page.streamOffset ?? 0) <= start) low = middle
      else high = middle
    }
    for (const { page, end } of own.slice(low)) {
      if (page.streamOffset >= stop) break
      const frame = frameAt(context, page.offset)
      must(frame.type === 5, 'a page is no page')
      const before = root.pages[root.pages.indexOf(page) - 1]
      const parsed = parsePage(context, frame, before ? before.offset + before.size : header.framesOffset)
      must(
        JSON.stringify(parsed.ref) === JSON.stringify(page) && parsed.end === end,
        'a page is not what the root says'
      )
      for (const entry of parsed.entries) {
        const from = Math.max(start - entry.streamOffset, 0)
        const to = Math.min(stop - entry.streamOffset, entry.size)
        if (from >= to) continue
        if (entry.kind === 'hole') {
          parts.push(() => Buffer.alloc(to - from))
          continue
        }
        const key = entry.digest.toString('hex')
        try {
          intact.set(key, chunkBytes(entry, stream))
        } catch (error) {
          if (!anyCopy) throw error
        }
        parts.push(() => (intact.get(key) ?? chunkBytes(entry, stream)).subarray(from, to))
      }
    }
    return Buffer.concat(parts.map((part) => part()))
  }
  return {
    header,
    digest: snapshot,
    pageCount: root.pages.length,
    dictionaryOffset: root.dictionary?.offset,
    sizes: root.streams.map(({ size }) => size),
    read
  }
}

export function readIndexed(file: Buffer, credentials: Credentials = {}): Contents {
  const { header, digest, read } = openIndexed(file, credentials)
  return { header, digest, streams: new Map(header.names.map((name) => [name, read(name)])) }
}

const sizeNames = { block: 'blockRaw', repeat: 'repeatSize', hole: 'holeSize' } as const

/** What a page has to say of a frame before it; `plain` of chunks. */
interface Item {
  readonly kind: 'block' | 'repeat' | 'hole'
  readonly size: number
  readonly block: number
  readonly storedSize: number
  readonly plain: Buffer
}

/** Front to back (10), with all that "Verify" asks for. */
export function readForward(file: Buffer, credentials: Credentials = {}): Contents {
  const { header, digest, pieces, areCountsRight } = readPieces(file, credentials)
  must(areCountsRight, 'the root has other counts')
  const whole = (piece: Buffer | number): Buffer => {
    if (typeof piece !== 'number') return piece
    must(piece <= 1024 * MiB, 'a hole that does not go into memory', 'unsupported')
    return Buffer.alloc(piece)
  }
  const streams = new Map(header.names.map((name, k) => [name, Buffer.concat(pieces[k]?.map(whole) ?? [])]))
  return { header, digest, streams }
}

/** Of a whole snapshot, with holes as sizes. */
export interface InPieces extends Omit<Contents, 'streams'> {
  readonly pieces: readonly Pieces[]
  /** What the root has for people is right, too: a reader need not look (7), a writer must not get it wrong. */
  readonly areCountsRight: boolean
}

export function readPieces(file: Buffer, credentials: Credentials = {}): InPieces {
  const context = open(file, credentials)
  const { header } = context
  const outputs = header.names.map((): (Buffer | number)[] => [])
  const totals = header.names.map(() => ({
    size: 0,
    blocks: 0,
    repeats: 0,
    holes: 0,
    blockRaw: 0,
    blockStored: 0,
    repeatSize: 0,
    holeSize: 0
  }))
  const blocks = new Map<number, Item>()
  const pages: PageRef[] = []
  let dictionary: { readonly frame: Frame; readonly plain: Buffer } | undefined
  let items: Item[] = []
  let [at, stream, cursor, pageStart, framesStart] = [header.framesOffset, 0, 0, 0, header.framesOffset]

  function put(item: Item): void {
    items.push(item)
    outputs[stream]?.push(item.kind === 'hole' ? item.size : item.plain)
    cursor += item.size
    must(Number.isSafeInteger(cursor), 'size of a stream')
  }
  /** The page's entries are exactly the frames before it (8, "What lies where"). */
  function match(frame: Frame): void {
    const { ref, entries, end } = parsePage(context, frame, framesStart)
    framesStart = frame.offset + frame.size
    const total = totals[stream]
    must(
      frame.stream === stream && ref.streamOffset === pageStart && end === cursor && total !== undefined,
      'place of a page'
    )
    let k = 0
    for (const item of items) {
      let inner = 0
      if (item.kind === 'block') total.blockStored += item.storedSize
      while (inner < item.size) {
        const entry = entries[k++]
        must(entry?.kind === item.kind, 'a page differs from the frames before it')
        if (entry.kind === 'hole') must(entry.size === item.size, 'size of a hole')
        else {
          must(
            entry.block === item.block && entry.storedSize === item.storedSize && entry.inner === inner,
            'block of an entry'
          )
          must(entry.kind === 'block' || entry.size === item.size, 'size of a repeat')
          const bytes = item.plain.subarray(inner, inner + entry.size)
          must(bytes.length === entry.size && blake3(bytes).equals(entry.digest), 'digest of a chunk')
        }
        inner += entry.size
        total.size += entry.size
        total[`${entry.kind}s`]++
        total[sizeNames[entry.kind]] += entry.size
      }
    }
    must(k === entries.length, 'a page has more entries than frames')
    pages.push(ref)
    items = []
    pageStart = cursor
  }

  for (;;) {
    const frame = frameAt(context, at)
    if (frame.type >= 2 && frame.type <= 5 && frame.stream !== stream) {
      must(frame.stream > stream && items.length === 0, 'order of streams')
      ;[stream, cursor, pageStart] = [frame.stream, 0, 0]
    }
    const f = new Fields(frame.payload)
    if (frame.type === 1) {
      must(dictionary === undefined, 'a second dictionary')
      dictionary = { frame, plain: plainOf(frame) }
      context.dictionary = dictionary.plain
    } else if (frame.type === 2) {
      must(f.u64() === cursor, 'stream offset of a block')
      const item: Item = {
        kind: 'block',
        size: frame.rawSize,
        block: at,
        storedSize: frame.size,
        plain: blockPlain(context, frame)
      }
      blocks.set(at, item)
      put(item)
    } else if (frame.type === 3) {
      const before = cursor
      while (f.at < frame.payload.length) {
        const block = blocks.get(f.uint(6))
        must(block !== undefined, 'a repeat of what is no block before it')
        put({ ...block, kind: 'repeat' })
      }
      must(cursor - before === frame.rawSize, 'size of a repeat frame')
    } else if (frame.type === 4) {
      const size = f.u64()
      must(size >= 1, 'size of a hole')
      put({ kind: 'hole', size, block: 0, storedSize: 0, plain: Buffer.alloc(0) })
    } else if (frame.type === 5) match(frame)
    else if (frame.type === 6) {
      must(items.length === 0, 'frames without a page')
      const root = parseRoot(context, frame)
      must(JSON.stringify(root.pages) === JSON.stringify(pages), 'the root has other pages')
      must(
        root.streams.every(({ size }, k) => size === totals[k]?.size),
        'the root has other sizes'
      )
      const areCountsRight = JSON.stringify(root.streams) === JSON.stringify(totals)
      must((root.dictionary === undefined) === (dictionary === undefined), 'dictionary of the root')
      if (root.dictionary && dictionary) {
        const { offset, size, rawSize, digest } = root.dictionary
        must(offset === dictionary.frame.offset && size === dictionary.frame.size, 'dictionary of the root')
        must(
          rawSize === dictionary.plain.length && blake3(dictionary.plain).equals(digest),
          'dictionary of the root'
        )
      }
      const footer = parseFooter(context, at + frame.size)
      must(footer.rootOffset === at, 'place of the root')
      must(snapshotDigest(context, root.plain).equals(footer.digest), 'snapshot digest')
      return { header, pieces: outputs, digest: footer.digest, areCountsRight }
    }
    at += frame.size
  }
}
