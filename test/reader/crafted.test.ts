import { crc32 } from 'node:zlib'
import t from 'tap'
import { writeFields } from '../../lib/format/bytes.js'
import {
  decodeFrameHeader,
  encodeFrame,
  encodeRepeatFrame,
  type FrameFields
} from '../../lib/format/frame.js'
import { decodeHeader, encodeHeader } from '../../lib/format/header.js'
import { createIndexWriter, type IndexWriter } from '../../lib/format/index-writer.js'
import { makeHeader, resolveSettings } from '../../lib/profiles.js'
import type { ByteSource } from '../../lib/reader/byte-source.js'
import { createLayout } from '../../lib/reader/layout.js'
import { openSnapshot } from '../../lib/reader/open-snapshot.js'
import { verifySnapshot } from '../../lib/reader/verify.js'
import { blake3 } from '../../lib/format/digest.js'
import { memorySource } from '../helpers/snapshots.js'

/** Snapshots with sound checksums and digests that break, or use, what the writer never writes. */

const header = makeHeader(resolveSettings({ codec: 'raw', chunkSize: 512 }), ['disk'])
const chunk = (value: number): Buffer => Buffer.alloc(512, value)

function blockFrame(streamOffset: number, stored: Uint8Array, fields: Partial<FrameFields> = {}): Uint8Array {
  const payload = Buffer.concat([writeFields(8).u64(streamOffset).done(), stored])
  return encodeFrame(payload, { type: 'block', rawSize: stored.length, ...fields })
}

/** A snapshot whose frames, one page long, `fill` gives while it enters them. */
async function craft(fill: (index: IndexWriter) => Uint8Array[]): Promise<ByteSource> {
  const index = createIndexWriter({ header })
  const frames = fill(index)
  const page = (await index.endPage()) ?? new Uint8Array(0)
  const { frame, footer } = await index.endRoot()
  return byteSource(Buffer.concat([index.header, ...frames, page, frame, footer]))
}

const byteSource = (bytes: Buffer): ByteSource => memorySource(bytes, 'crafted.st')

/** Enters a block and gives its frame. */
function addBlock(index: IndexWriter, raw: Uint8Array, frame: Uint8Array): Uint8Array {
  const handle = index.place(frame.length)
  index.addBlock(0, { rawSize: raw.length, digest: blake3(raw), handle })
  return frame
}

await t.test('frames of skippable types are passed over', async (t) => {
  const skippable = Buffer.from(encodeFrame(Buffer.from('from a later version'), { type: 'hole' }))
  skippable[4] = 0x80
  skippable.writeUInt32LE(crc32(skippable.subarray(4)))
  const [first, second] = [chunk(1), chunk(2)]
  const source = await craft((index) => {
    const start = addBlock(index, first, blockFrame(0, first))
    index.place(skippable.length)
    return [start, skippable, addBlock(index, second, blockFrame(512, second))]
  })
  t.equal((await verifySnapshot(source, { concurrency: 1 })).chunkCount, 2)
  const snapshot = await openSnapshot(source)
  t.strictSame(await snapshot.read('disk', 0, 1024), Buffer.concat([first, second]))
})

await t.test('a frame of a kind that is not known is damage unless its checksum fits', async (t) => {
  const raw = chunk(1)
  const craftTyped = async (mend: boolean): Promise<ByteSource> =>
    craft((index) => {
      const frame = Buffer.from(blockFrame(0, raw))
      frame[4] = 9
      if (mend) frame.writeUInt32LE(crc32(frame.subarray(4)))
      return [addBlock(index, raw, frame)]
    })
  await t.rejects(verifySnapshot(await craftTyped(false), { concurrency: 1 }), {
    code: 'BAD_CHECKSUM',
    message: 'crafted.st is damaged at byte 62: the checksum of the frame there is wrong'
  })
  await t.rejects(verifySnapshot(await craftTyped(true), { concurrency: 1 }), {
    code: 'UNKNOWN_FEATURE',
    message:
      'crafted.st has a frame of an unknown kind at byte 62: it is damaged, or was made by a newer hexz'
  })
})

await t.test('only a Zstd block can need a dictionary', async (t) => {
  const raw = chunk(1)
  const source = await craft((index) => [addBlock(index, raw, blockFrame(0, raw, { usesDictionary: true }))])
  const expected = {
    code: 'BAD_STRUCTURE',
    message: 'crafted.st is damaged at byte 62: a raw block cannot need a dictionary'
  }
  await t.rejects(verifySnapshot(source, { concurrency: 1 }), expected)
  await t.rejects((await openSnapshot(source)).read('disk', 0, 1), expected)
})

await t.test('nothing lies between the last page and the root', async (t) => {
  const raw = chunk(1)
  const index = createIndexWriter({ header })
  const frames = [addBlock(index, raw, blockFrame(0, raw)), (await index.endPage()) ?? new Uint8Array(0)]
  const behind = encodeFrame(Buffer.from('x'), { type: 'hole' })
  index.place(behind.length)
  const { frame, footer } = await index.endRoot()
  const source = byteSource(Buffer.concat([index.header, ...frames, behind, frame, footer]))
  await t.rejects(openSnapshot(source), {
    code: 'BAD_STRUCTURE',
    message: 'the index root of crafted.st is damaged: there are frames behind its last page'
  })
})

await t.test('a page frame of another stream than its page', async (t) => {
  const raw = chunk(1)
  const index = createIndexWriter({ header })
  const block = addBlock(index, raw, blockFrame(0, raw))
  const page = Buffer.from((await index.endPage()) ?? [])
  page[6] = 1
  page.writeUInt32LE(crc32(page.subarray(4)))
  const { frame, footer } = await index.endRoot()
  const source = byteSource(Buffer.concat([index.header, block, page, frame, footer]))
  const expected = {
    code: 'BAD_STRUCTURE',
    message: `crafted.st is damaged at byte ${62 + block.length}: the index page there belongs to another stream`
  }
  await t.rejects(verifySnapshot(source, { concurrency: 1 }), expected)
  await t.rejects((await openSnapshot(source)).read('disk', 0, 1), expected)
})

await t.test('names in a header are UTF-8', (t) => {
  const bytes = Buffer.from(encodeHeader(header))
  bytes[bytes.length - 5] = 0xff
  bytes.writeUInt32LE(crc32(bytes.subarray(0, -4)), bytes.length - 4)
  t.throws(() => decodeHeader(bytes, 'crafted.st'), {
    code: 'BAD_STRUCTURE',
    message: 'the header of crafted.st is damaged: expected text in UTF-8, found other bytes'
  })
  t.end()
})

await t.test('a block that holds more than the index says is refused', async (t) => {
  const raw = chunk(1)
  const source = await craft((index) => [addBlock(index, raw, blockFrame(0, Buffer.concat([raw, chunk(2)])))])
  await t.rejects(verifySnapshot(source, { concurrency: 1 }), {
    code: 'BAD_STRUCTURE',
    message: 'crafted.st is damaged at byte 62: the block there is not in the index'
  })
})

await t.test('a repeat of a block that comes later is refused', async (t) => {
  const raw = chunk(1)
  const source = await craft((index) => {
    const blockOffset = index.offset + 22
    const repeat = encodeRepeatFrame(0, raw.length, [blockOffset])
    index.place(repeat.length)
    const block = blockFrame(512, raw)
    const handle = { offset: blockOffset, size: block.length }
    index.addRepeat(0, { rawSize: raw.length, digest: blake3(raw), handle })
    return [repeat, addBlock(index, raw, block)]
  })
  await t.rejects(verifySnapshot(source, { concurrency: 1 }), {
    code: 'BAD_STRUCTURE',
    message: 'crafted.st is damaged at byte 62: the repeat there names a block that comes later'
  })
})

await t.test('a repeat of a part of a block is refused', (t) => {
  const place = {
    kind: 'repeat',
    rawSize: 512,
    digest: blake3(chunk(1)),
    blockOffset: 62,
    storedSize: 1048
  } as const
  const bytes = encodeRepeatFrame(0, 512, [62])
  const frame = {
    header: decodeFrameHeader(bytes, 'crafted.st', 1110),
    start: 0,
    size: bytes.length,
    storedSize: bytes.length,
    offset: 1110
  }
  const take = (innerOffset: number): unknown =>
    createLayout({ stream: 0, streamOffset: 1024, entries: [{ ...place, innerOffset }] }, 'crafted.st').take(
      frame,
      bytes
    )
  t.strictSame(take(0), [])
  t.throws(() => take(512), {
    code: 'BAD_STRUCTURE',
    message: 'crafted.st is damaged at byte 1110: the repeat there names another block than the index'
  })
  t.end()
})

await t.test('a header of format 0 is damaged', (t) => {
  const bytes = encodeHeader({ ...header, major: 0 })
  t.throws(() => decodeHeader(bytes, 'crafted.st'), {
    code: 'BAD_STRUCTURE',
    message: 'the header of crafted.st is damaged: format 0.0'
  })
  t.end()
})
