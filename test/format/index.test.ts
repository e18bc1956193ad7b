import t from 'tap'
import { decodeIndexBytes } from '../../lib/compression/codecs.js'
import { decodeFooterBody, digestSnapshot, splitFooter } from '../../lib/format/footer.js'
import { decodeFrameHeader, isFrameIntact } from '../../lib/format/frame.js'
import { decodeIndexPage } from '../../lib/format/index-page.js'
import {
  decodeIndexRoot,
  encodeIndexRoot,
  type IndexRoot,
  type IndexRootFields
} from '../../lib/format/index-root.js'
import { createIndexWriter } from '../../lib/format/index-writer.js'
import { makeHeader, resolveSettings } from '../../lib/profiles.js'
import { hex, unhex } from '../helpers/bytes.js'
import { caught } from '../helpers/errors.js'
import { blake3 } from '../../lib/format/digest.js'

const digest = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)
const root: IndexRootFields = {
  streams: [
    {
      name: 'disk',
      size: 6,
      blockCount: 1,
      repeatCount: 2,
      holeCount: 3,
      blockRawSize: 1,
      blockStoredSize: 25,
      repeatSize: 2,
      holeSize: 3
    }
  ],
  dictionary: { handle: { offset: 73, size: 40 }, rawSize: 24, digest: digest(3), sampleCount: 5, gain: -2 },
  pages: [
    { stream: 0, streamOffset: 0, entryCount: 6, handle: { offset: 300, size: 400 }, digest: digest(4) }
  ]
}

/** Compared with what it was made of: its pages as an array. */
const listed = (decoded: IndexRoot): IndexRootFields => ({ ...decoded, pages: [...decoded.pages] })

await t.test('index root: exact bytes, and back', (t) => {
  const expected = unhex(`
    01 04 6469736b
    0600000000000000 0100000000000000 0200000000000000 0300000000000000
    0100000000000000 1900000000000000 0200000000000000 0300000000000000
    01 4900000000000000 28000000 18000000 ${'03'.repeat(32)} 05000000 feffffff
    01000000 00 0000000000000000 06000000 2c01000000000000 90010000 ${'04'.repeat(32)}
    00000000`)
  t.equal(hex(encodeIndexRoot(root)), hex(expected))
  t.strictSame(listed(decodeIndexRoot(Uint8Array.from(expected), 'x')), root)
  const plain = { ...root, dictionary: undefined, pages: [] }
  t.strictSame(listed(decodeIndexRoot(encodeIndexRoot(plain), 'x')), plain)
  t.end()
})

await t.test('index root: what a later minor version appends is passed over', (t) => {
  const bytes = encodeIndexRoot(root)
  const extended = Buffer.concat([bytes.subarray(0, -4), unhex('05000000 0102030405')])
  t.strictSame(listed(decodeIndexRoot(Uint8Array.from(extended), 'x')), root)
  t.equal(
    caught(() => decodeIndexRoot(extended.subarray(0, -1), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: expected 5 more bytes, found 4'
  )
  t.equal(
    caught(() => decodeIndexRoot(Buffer.concat([bytes, Buffer.of(1)]), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: expected no more bytes, found 1'
  )
  t.end()
})

await t.test('index root: impossible values are refused', (t) => {
  const of = (changed: IndexRootFields): string =>
    caught(() => decodeIndexRoot(encodeIndexRoot(changed), 'x'))
  const refused = (why: string): string => `CorruptError BAD_STRUCTURE: x is damaged: ${why}`
  const [disk] = root.streams
  const [ref] = root.pages
  if (disk === undefined || ref === undefined) throw new Error('the sample has both')
  t.equal(of({ ...root, streams: [{ ...disk, size: 7 }] }), refused('the sizes of stream disk do not add up'))
  t.equal(of({ ...root, pages: [{ ...ref, stream: 1 }] }), refused('an index page of no stream'))
  t.equal(of({ ...root, pages: [{ ...ref, entryCount: 0 }] }), refused('an index page of no stream'))
  t.equal(of({ ...root, streams: [] }), refused('an index page of no stream'))
  const forged = (offset: number, bytes: Uint8Array): string => {
    const changed = encodeIndexRoot(root)
    changed.set(bytes, offset)
    return caught(() => decodeIndexRoot(changed, 'x'))
  }
  const dictionaryAt = 6 + 64
  t.equal(forged(dictionaryAt, Uint8Array.of(2)), refused('dictionary mark 2'))
  const pageCountAt = dictionaryAt + 1 + 56
  t.equal(forged(pageCountAt, unhex('02000000')), refused('it claims 2 index pages'))
  t.equal(forged(pageCountAt, unhex('ffffffff')), refused('it claims 4294967295 index pages'))
  t.equal(
    forged(6, unhex('ffffffffffffffff')),
    refused('expected a number below 2^53, found a larger one'),
    'a stream of 2^64 bytes'
  )
  t.end()
})

const header = makeHeader(resolveSettings({}), ['disk', 'memory'])
const place = { rawSize: 10, digest: digest(9) }

await t.test('index writer: keeps the books of what is placed', async (t) => {
  const index = createIndexWriter({ header })
  const start = index.header.length
  t.equal(index.offset, start)
  const first = index.place(40)
  t.strictSame(first, { offset: start, size: 40 })
  index.addBlock(0, { ...place, handle: first })
  index.addRepeat(0, { ...place, handle: first })
  index.addHole(0, 100)
  t.equal(index.roomInPage(), 4093)
  const frame = await index.endPage()
  if (frame === undefined) throw new Error('the page has entries')
  t.equal(index.offset, start + 40 + frame.length)
  t.equal(index.roomInPage(), 4096)
  t.equal(await index.endPage(), undefined, 'an empty page is none')
  index.addHole(1, 7)
  const second = await index.endPage()
  if (second === undefined) throw new Error('the page has entries')

  const { type, codec, stream, rawSize } = decodeFrameHeader(frame, 'x', 0)
  t.strictSame({ type, codec, stream }, { type: 'page', codec: 'zstd', stream: 0 })
  t.equal(isFrameIntact(frame), true)
  const raw = await decodeIndexBytes(codec, frame.subarray(16), rawSize)
  t.strictSame(decodeIndexPage(Uint8Array.from(raw), 'x'), {
    stream: 0,
    streamOffset: 0,
    entries: [
      { kind: 'block', ...place, blockOffset: start, storedSize: 40, innerOffset: 0 },
      { kind: 'repeat', ...place, blockOffset: start, storedSize: 40, innerOffset: 0 },
      { kind: 'hole', rawSize: 100 }
    ]
  })

  t.equal(index.totals().snapshotDigest, undefined)
  const end = await index.endRoot()
  const rootHeader = decodeFrameHeader(end.frame, 'x', 0)
  const rootRaw = await decodeIndexBytes(rootHeader.codec, end.frame.subarray(16), rootHeader.rawSize)
  const totals = index.totals()
  t.equal(totals.fileSize, end.footerOffset + 96)
  const footer = decodeFooterBody(splitFooter(end.footer, 'x').body, 'x', totals.fileSize)
  t.strictSame(footer.root, { offset: end.footerOffset - end.frame.length, size: end.frame.length })
  t.equal(hex(footer.snapshotDigest), hex(totals.snapshotDigest ?? Buffer.of()))
  t.equal(hex(footer.snapshotDigest), hex(digestSnapshot(index.header, rootRaw)))
  const decoded = decodeIndexRoot(rootRaw, 'x')
  t.strictSame(decoded.streams, totals.streams)
  const none = { blockCount: 0, repeatCount: 0, blockRawSize: 0, blockStoredSize: 0, repeatSize: 0 }
  t.strictSame(decoded.streams, [
    {
      name: 'disk',
      size: 120,
      blockCount: 1,
      repeatCount: 1,
      holeCount: 1,
      blockRawSize: 10,
      blockStoredSize: 40,
      repeatSize: 10,
      holeSize: 100
    },
    { ...none, name: 'memory', size: 7, holeCount: 1, holeSize: 7 }
  ])
  t.strictSame(
    [...decoded.pages].map(({ stream, streamOffset, entryCount, handle }) => ({
      stream,
      streamOffset,
      entryCount,
      handle
    })),
    [
      { stream: 0, streamOffset: 0, entryCount: 3, handle: { offset: start + 40, size: frame.length } },
      {
        stream: 1,
        streamOffset: 0,
        entryCount: 1,
        handle: { offset: start + 40 + frame.length, size: second.length }
      }
    ]
  )
  t.equal(hex(decoded.pages.at(0)?.digest ?? new Uint8Array(0)), hex(blake3(raw)))
})

await t.test('index writer: limits and overheads', (t) => {
  const sealed = createIndexWriter({ header: { ...header, encrypted: true }, sealOverhead: 32 })
  t.strictSame(sealed.place(40), { offset: sealed.header.length + 10240, size: 72 }, 'behind the key slots')
  const index = createIndexWriter({ header })
  t.equal(
    caught(() => index.place(2 ** 48)),
    'LimitError LIMIT: the snapshot would be larger than 2^48 bytes'
  )
  t.equal(
    caught(() => index.addHole(2, 1)),
    'RangeError: the header names no stream 2'
  )
  t.end()
})

await t.test('digests are BLAKE3', (t) => {
  t.equal(hex(blake3(new Uint8Array(0))), 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262')
  t.end()
})
