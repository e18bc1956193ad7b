import { CorruptError } from '../errors.js'
import { formatLimits as limits } from '../limits.js'
import { readFields, writeFields, type FieldReader } from './bytes.js'
import { digestSize } from './digest.js'
import { frameHeaderSize } from './frame.js'

/*
 * Index root: what the whole snapshot holds, and where its index pages lie.
 *
 *  streamCount      u8
 *  each stream      name (u8 size, UTF-8), then eight u64: size, blockCount, repeatCount, holeCount,
 *                   blockRawSize, blockStoredSize, repeatSize, holeSize
 *  hasDictionary    u8   0 or 1
 *  if 1             u64 offset, u32 storedSize, u32 rawSize, digest 32, u32 sampleCount, i32 gain
 *  pageCount        u32
 *  each page        u8 stream, u64 streamOffset, u32 entryCount, u64 offset, u32 storedSize, digest 32
 *  extensionSize    u32, then that many bytes, for later minor versions; a reader skips them
 */

const pageRefSize = 57

/** Totals of one stream, in bytes and in chunks or runs. `size` = blockRawSize + repeatSize + holeSize. */
export interface StreamSummary {
  readonly name: string
  readonly size: number
  readonly blockCount: number
  readonly repeatCount: number
  /** Runs of zeros, merged. */
  readonly holeCount: number
  readonly blockRawSize: number
  /** Whole block frames. */
  readonly blockStoredSize: number
  readonly repeatSize: number
  readonly holeSize: number
}

/** Where a frame lies in the file. */
export interface Handle {
  readonly offset: number
  /** The whole frame as stored. */
  readonly size: number
}

export interface PageRef {
  readonly stream: number
  /** Of the page's first entry. */
  readonly streamOffset: number
  readonly entryCount: number
  readonly handle: Handle
  /** BLAKE3 of the page's raw payload. */
  readonly digest: Uint8Array
}

/** The pages in file order. They stay as they were read: an object each would take six times as much. */
export interface PageList extends Iterable<PageRef> {
  readonly length: number
  at(number: number): PageRef | undefined
  /** Two fields of a page that is there. */
  streamAt(number: number): number
  streamOffsetAt(number: number): number
}

export interface DictionaryRef {
  readonly handle: Handle
  readonly rawSize: number
  readonly digest: Uint8Array
  /** Blocks it was trained on; 0 when it was given from outside. */
  readonly sampleCount: number
  /** What it saved on held-out samples, in 1/10,000 of their compressed size; negative when it cost. */
  readonly gain: number
}

export interface IndexRoot {
  readonly streams: readonly StreamSummary[]
  readonly dictionary: DictionaryRef | undefined
  readonly pages: PageList
}

/** What a root is made of. */
export interface IndexRootFields extends Omit<IndexRoot, 'pages'> {
  readonly pages: Iterable<PageRef> & { readonly length: number }
}

export function encodeIndexRoot(root: IndexRootFields): Uint8Array {
  const names = root.streams.map((stream) => Buffer.from(stream.name))
  const streamsSize = names.reduce((sum, name) => sum + 1 + name.length + 64, 0)
  const dictionarySize = root.dictionary === undefined ? 0 : 24 + digestSize
  const fields = writeFields(1 + streamsSize + 1 + dictionarySize + 4 + root.pages.length * pageRefSize + 4)
  fields.u8(root.streams.length)
  root.streams.forEach((stream, i) => {
    const name = names[i] ?? new Uint8Array(0)
    fields.u8(name.length).bytes(name)
    fields.u64(stream.size).u64(stream.blockCount).u64(stream.repeatCount).u64(stream.holeCount)
    fields.u64(stream.blockRawSize).u64(stream.blockStoredSize).u64(stream.repeatSize).u64(stream.holeSize)
  })
  fields.u8(root.dictionary === undefined ? 0 : 1)
  if (root.dictionary !== undefined) {
    const { handle, rawSize, digest, sampleCount, gain } = root.dictionary
    fields.u64(handle.offset).u32(handle.size).u32(rawSize).bytes(digest).u32(sampleCount).i32(gain)
  }
  fields.u32(root.pages.length)
  for (const page of root.pages) {
    fields.u8(page.stream).u64(page.streamOffset).u32(page.entryCount)
    fields.u64(page.handle.offset).u32(page.handle.size).bytes(page.digest)
  }
  return fields.u32(0).done()
}

/** @throws CorruptError BAD_STRUCTURE */
export function decodeIndexRoot(bytes: Uint8Array, where: string): IndexRoot {
  const fields = readFields(bytes, where)
  const streams = Array.from({ length: fields.u8() }, () => decodeStream(fields, where))
  const hasDictionary = fields.u8()
  if (hasDictionary > 1) throw broken(where, `dictionary mark ${hasDictionary}`)
  const dictionary = hasDictionary === 1 ? decodeDictionary(fields) : undefined
  const pageCount = fields.u32()
  if (pageCount > limits.pageCountMax || pageCount * pageRefSize > bytes.length - fields.offset) {
    throw broken(where, `it claims ${pageCount} index pages`)
  }
  const refs = fields.bytes(pageCount * pageRefSize)
  fields.bytes(fields.u32())
  fields.end()
  checkPages(refs, streams.length, where)
  return { streams, dictionary, pages: pageList(refs) }
}

function checkPages(refs: Uint8Array, streamCount: number, where: string): void {
  const fields = readFields(refs, where)
  while (fields.offset < refs.length) {
    const stream = fields.u8()
    fields.u64()
    const entryCount = fields.u32()
    fields.u64()
    const size = fields.u32()
    fields.bytes(digestSize)
    if (stream >= streamCount || entryCount === 0 || entryCount > limits.pageEntryCountMax)
      throw broken(where, 'an index page of no stream')
    if (size <= frameHeaderSize) throw broken(where, `an index page of ${size} bytes`)
  }
}

/** @param refs whose fields were checked */
function pageList(refs: Uint8Array): PageList {
  const view = new DataView(refs.buffer, refs.byteOffset, refs.byteLength)
  const length = refs.byteLength / pageRefSize
  const u64At = (at: number): number => view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
  const pages: PageList = {
    length,
    at(number) {
      if (number < 0 || number >= length) return undefined
      const at = number * pageRefSize
      return {
        stream: view.getUint8(at),
        streamOffset: u64At(at + 1),
        entryCount: view.getUint32(at + 9, true),
        handle: { offset: u64At(at + 13), size: view.getUint32(at + 21, true) },
        digest: refs.subarray(at + 25, at + pageRefSize)
      }
    },
    streamAt: (number) => view.getUint8(number * pageRefSize),
    streamOffsetAt: (number) => u64At(number * pageRefSize + 1),
    *[Symbol.iterator]() {
      for (let number = 0, page = pages.at(0); page !== undefined; page = pages.at(++number)) yield page
    }
  }
  return pages
}

function decodeStream(fields: FieldReader, where: string): StreamSummary {
  const name = fields.text(fields.u8())
  const stream = {
    name,
    size: fields.u64(),
    blockCount: fields.u64(),
    repeatCount: fields.u64(),
    holeCount: fields.u64(),
    blockRawSize: fields.u64(),
    blockStoredSize: fields.u64(),
    repeatSize: fields.u64(),
    holeSize: fields.u64()
  }
  if (stream.size !== stream.blockRawSize + stream.repeatSize + stream.holeSize) {
    throw broken(where, `the sizes of stream ${name} do not add up`)
  }
  return stream
}

function decodeDictionary(fields: FieldReader): DictionaryRef {
  const handle = { offset: fields.u64(), size: fields.u32() }
  return {
    handle,
    rawSize: fields.u32(),
    digest: fields.bytes(digestSize),
    sampleCount: fields.u32(),
    gain: fields.i32()
  }
}

function broken(where: string, why: string): CorruptError {
  return new CorruptError('BAD_STRUCTURE', `${where} is damaged: ${why}`, { where })
}
