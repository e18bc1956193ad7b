import { bindings } from '../../lib/compression/bindings.js'
import { encodeFrame, encodeHoleFrame, encodeRepeatFrame } from '../../lib/format/frame.js'
import type { Entry } from '../../lib/format/index-page.js'
import { encodeIndexRoot, type PageRef } from '../../lib/format/index-root.js'
import { randomBytes } from '../helpers/data.js'
import { blockFrame, chunkEntry, createForgery, enclose, skippableFrame, zstdBomb } from './forge.js'

/** Small files that ask for much: each is made when it is wanted. */

const MiB = 1024 * 1024
/** 4 MiB of one letter, and the 262 bytes that hold them. */
const large = Buffer.alloc(4 * MiB, 'A')
const largeStored = zstdBomb(32)

const largeFrame = (streamOffset: number): Uint8Array =>
  blockFrame(streamOffset, largeStored, { codec: 'zstd', rawSize: large.length })

/** A page whose bytes shrink to next to nothing. */
async function packedPage(plain: Uint8Array): Promise<Uint8Array> {
  const stored = await bindings.asyncZstd.compress(Buffer.from(plain), 3)
  return encodeFrame(stored, { type: 'page', codec: 'zstd', rawSize: plain.length })
}

/** Blocks of 4 MiB by their header, whose Zstd frames would decode to 64 MiB. */
function zstdBlocks(count = 96): Buffer {
  const forgery = createForgery()
  const frame = (i: number): Uint8Array =>
    blockFrame(i * large.length, zstdBomb(514), { codec: 'zstd', rawSize: large.length })
  const entries = Array.from({ length: count }, (_, i) => chunkEntry('block', large, forgery.add(frame(i))))
  forgery.addPage({ stream: 0, streamOffset: 0, entries })
  return forgery.end()
}

/** The same for LZ4: 4 MiB by the header, of a few bytes that give much less. */
function lz4Blocks(count = 4000): Buffer {
  const forgery = createForgery()
  const stored = Buffer.from('1f4100ffffffffffffffff00', 'hex')
  const frame = (i: number): Uint8Array =>
    blockFrame(i * large.length, stored, { codec: 'lz4', rawSize: large.length })
  const entries = Array.from({ length: count }, (_, i) => chunkEntry('block', large, forgery.add(frame(i))))
  forgery.addPage({ stream: 0, streamOffset: 0, entries })
  return forgery.end()
}

/** Blocks of 4 MiB of which the index says that they hold 512 bytes: many fit into one group. */
function understatedBlocks(count = 4000): Buffer {
  const forgery = createForgery()
  const chunk = large.subarray(0, 512)
  const entries = Array.from({ length: count }, (_, i) =>
    chunkEntry('block', chunk, forgery.add(largeFrame(i * 512)))
  )
  forgery.addPage({ stream: 0, streamOffset: 0, entries })
  return forgery.end()
}

/** One block of 4 MiB, the index says: in 4096 chunks. Whoever decodes it for each decodes 16 GiB. */
function sharedBlock(pageCount = 2): Buffer {
  const forgery = createForgery()
  for (let number = 0; number < pageCount; number++) {
    const streamOffset = number * large.length
    const block = forgery.add(largeFrame(streamOffset))
    const entry = chunkEntry('block', large.subarray(0, 1024), block)
    const entries = Array.from({ length: 4096 }, (_, i): Entry => ({ ...entry, innerOffset: i * 1024 }))
    forgery.addPage({ stream: 0, streamOffset, entries })
  }
  return forgery.end()
}

/** A root of 60 MB in 17 MB, of a million pages that are nowhere. */
async function rootOfPages(): Promise<Buffer> {
  const noise = randomBytes(14 * MiB, 1)
  const pages = Array.from({ length: 2 ** 20 }, (_, i): PageRef => {
    const at = (i * 14) % (noise.length - 32)
    const digest = Buffer.alloc(32)
    noise.copy(digest, 0, at, at + 14)
    return { stream: 0, streamOffset: i, entryCount: 1, handle: { offset: 62, size: 60 }, digest }
  })
  return packedRoot({ pages, size: 2 ** 20 })
}

async function packedRoot({ pages, size }: { pages: PageRef[]; size: number }): Promise<Buffer> {
  const { header } = createForgery()
  const none = {
    blockCount: 0,
    repeatCount: 0,
    holeCount: 0,
    blockRawSize: 0,
    blockStoredSize: 0,
    repeatSize: 0
  }
  const streams = [{ name: 'disk', size, ...none, holeSize: size }]
  const root = encodeIndexRoot({ streams, dictionary: undefined, pages })
  const stored = await bindings.asyncZstd.compress(Buffer.from(root), 3)
  return enclose(header, header, root, { codec: 'zstd', stored })
}

/** A root with an extension of 63 MiB, in 16 MiB. Nothing is wrong with it. */
async function rootWithExtension(): Promise<Buffer> {
  const { header } = createForgery()
  const root = Buffer.from(encodeIndexRoot(createRoot()))
  const extension = Buffer.alloc(63 * MiB)
  randomBytes(16 * MiB, 2).copy(extension)
  root.writeUInt32LE(extension.length, root.length - 4)
  const plain = Buffer.concat([root, extension])
  return enclose(header, header, plain, {
    codec: 'zstd',
    stored: await bindings.asyncZstd.compress(plain, 3)
  })
}

function createRoot(): Parameters<typeof encodeIndexRoot>[0] {
  const none = {
    blockCount: 0,
    repeatCount: 0,
    holeCount: 0,
    blockRawSize: 0,
    blockStoredSize: 0,
    repeatSize: 0
  }
  return { streams: [{ name: 'disk', size: 0, ...none, holeSize: 0 }], dictionary: undefined, pages: [] }
}

/** Blocks of one byte, each apart from the others: as many ranges for `recover`, in 25 bytes each. */
export function scattered(count = 10_000): Buffer {
  const forgery = createForgery()
  for (let i = 0; i < count; i++) forgery.add(blockFrame(i * 2, Buffer.of(0x41)))
  return forgery.cut()
}

/** Frames of 16 bytes, as many as go into 4 MiB, before a page. */
function tinyFrames(size = 4 * MiB): Buffer {
  const forgery = createForgery()
  const tiny = skippableFrame(Buffer.alloc(0))
  for (let done = 0; done < size; done += tiny.length) forgery.add(tiny)
  const hole = encodeHoleFrame(0, 512)
  forgery.add(hole)
  forgery.addPage({ stream: 0, streamOffset: 0, entries: [{ kind: 'hole', rawSize: 512 }] })
  return forgery.end()
}

/** Pages of 200 KB in 150 bytes, cut off: each says of 4096 chunks that they are the block of 4 MiB, in the same place. */
async function packedPages(count = 2000): Promise<Buffer> {
  const forgery = createForgery()
  const block = forgery.add(largeFrame(0))
  const wrong = { ...chunkEntry('repeat', large, block), digest: Buffer.alloc(32) }
  const entries = Array.from({ length: 4096 }, () => wrong)
  let page: Uint8Array = Buffer.alloc(0)
  forgery.addPage({ stream: 0, streamOffset: large.length, entries }, (plain) => (page = plain))
  const packed = await packedPage(page)
  const cut = createForgery()
  cut.add(largeFrame(0))
  for (let i = 0; i < count; i++) cut.add(packed)
  return cut.cut()
}

/** Roots of 256 KiB in 50 bytes, cut off. */
async function packedRoots(count = 20_000): Promise<Buffer> {
  const root = Buffer.from(encodeIndexRoot(createRoot()))
  root.writeUInt32LE(250_000, root.length - 4)
  const plain = Buffer.concat([root, Buffer.alloc(250_000)])
  const stored = await bindings.asyncZstd.compress(plain, 3)
  const frame = encodeFrame(stored, { type: 'root', codec: 'zstd', rawSize: plain.length })
  const forgery = createForgery()
  for (let i = 0; i < count; i++) forgery.add(frame)
  return forgery.cut()
}

/** Repeats of a block of 4 MiB that is damaged at its end, or that go over each other again and again. */
function repeats(count = 4000, isDamaged = false): Buffer {
  const forgery = createForgery()
  const stored = isDamaged
    ? Buffer.concat([zstdBomb(31).subarray(0, 6), zstdBomb(33).subarray(6)])
    : largeStored
  const frame = blockFrame(0, stored, { codec: 'zstd', rawSize: large.length })
  const blocks = [forgery.add(frame), forgery.add(frame)]
  for (let i = 0; i < count; i++) {
    forgery.add(blockFrame(0, Buffer.of(0x41)))
    forgery.add(
      encodeRepeatFrame(
        0,
        2 * large.length,
        blocks.map(({ offset }) => offset)
      )
    )
  }
  return forgery.cut()
}

/** Dictionaries of 1 MiB in a few bytes, none of which is one. */
function dictionaries(count = 20_000): Buffer {
  const forgery = createForgery()
  const frame = encodeFrame(zstdBomb(9), { type: 'dictionary', codec: 'zstd', rawSize: MiB })
  for (let i = 0; i < count; i++) forgery.add(frame)
  return forgery.cut()
}

/** A hole of 2^52 bytes, and nothing else: whole, and no file can hold it. */
function endlessHole(size = 2 ** 52): Buffer {
  const forgery = createForgery()
  forgery.add(encodeHoleFrame(0, size))
  forgery.addPage({ stream: 0, streamOffset: 0, entries: [{ kind: 'hole', rawSize: size }] })
  return forgery.end()
}

export const bombs = {
  zstdBlocks,
  lz4Blocks,
  understatedBlocks,
  sharedBlock,
  rootOfPages,
  rootWithExtension,
  scattered,
  tinyFrames,
  packedPages,
  packedRoots,
  repeats,
  damagedRepeats: () => repeats(4000, true),
  dictionaries,
  endlessHole
} as const satisfies Record<string, () => Buffer | Promise<Buffer>>
