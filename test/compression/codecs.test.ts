import t from 'tap'
import fc from 'fast-check'
import { compress as zstdCompress } from '@mongodb-js/zstd'
import { Encoder } from '@toondepauw/node-zstd'
import {
  createBlockDecoder,
  createBlockEncoder,
  decodeIndexBytes,
  encodeIndexBytes
} from '../../lib/compression/codecs.js'
import { isZstdFrameBounded } from '../../lib/compression/zstd-frame.js'
import { formatLimits } from '../../lib/limits.js'
import { difference, unhex } from '../helpers/bytes.js'
import { mixedBytes, randomBytes, repeatBytes, textBytes, zeroBytes } from '../helpers/data.js'
import { caught, rejected } from '../helpers/errors.js'
import { checkProperty } from '../helpers/property.js'

const KiB = 1024
const MiB = 1024 * KiB
const window = formatLimits.zstdWindowSizeMax
const decode = createBlockDecoder()

const isBounded = (frame: Uint8Array, rawSize: number): boolean => isZstdFrameBounded(frame, rawSize, window)

/** A Zstd block header and what follows it (RFC 8878, 3.1.1.2). */
function zstdBlock(type: number, size: number, content: Uint8Array, isLast = false): Buffer {
  const header = (isLast ? 1 : 0) | (type << 1) | (size << 3)
  return Buffer.concat([Buffer.of(header & 0xff, (header >> 8) & 0xff, header >> 16), content])
}
/** A frame without content size, with a window of 128 KiB. */
const zstdFrame = (...blocks: Uint8Array[]): Buffer => Buffer.concat([unhex('28b52ffd 00 38'), ...blocks])
const rawBlock = (content: Uint8Array, isLast = false): Buffer =>
  zstdBlock(0, content.length, content, isLast)
const runBlock = (size: number, isLast = false): Buffer => zstdBlock(1, size, Buffer.of(7), isLast)

/** First, because a peak of memory is only seen where none was before it. */
await t.test('zstd frames: bombs are refused unseen', async (t) => {
  const zeros = zstdFrame(
    ...Array.from({ length: 2399 }, () => runBlock(128 * KiB)),
    runBlock(128 * KiB, true)
  )
  const empty = Buffer.concat(Array.from({ length: 20_000 }, () => rawBlock(Buffer.alloc(0))))
  // The second block of a frame of three: 128 KiB out of a few bytes, decodable any number of times.
  const three = new Encoder(3).encodeSync(repeatBytes(Buffer.from('ab'), 192 * KiB))
  const sizeOf = (at: number): number => 3 + (three.readUIntLE(at, 3) >> 3)
  const second = three.subarray(6 + sizeOf(6), 6 + sizeOf(6) + sizeOf(6 + sizeOf(6)))
  const pairs = Buffer.concat([
    three.subarray(6, 6 + sizeOf(6)),
    ...Array.from({ length: 8000 }, () => second)
  ])
  const bombs: [string, Buffer, number][] = [
    ['300 MiB of zeros in 9600 bytes', zeros, 4 * MiB],
    ['blocks that hold nothing', zstdFrame(empty, runBlock(1, true)), 4 * MiB],
    ['compressed blocks, more than the size can need', zstdFrame(pairs, runBlock(1, true)), 4 * MiB],
    ['a frame that never ends', zstdFrame(...Array.from({ length: 10 }, () => runBlock(8 * KiB))), 4 * MiB]
  ]
  const before = process.resourceUsage().maxRSS
  for (const [name, frame, rawSize] of bombs) {
    t.equal(
      caught(() => decode('zstd', frame, rawSize)),
      `CorruptError BAD_STRUCTURE: damaged: zstd bytes that should decode to ${rawSize} bytes do not decode`,
      name
    )
    t.match(
      await rejected(decodeIndexBytes('zstd', frame, 200 * KiB)),
      /^CorruptError BAD_STRUCTURE: damaged: zstd/
    )
  }
  t.equal(
    await rejected(decodeIndexBytes('zstd', zstdFrame(pairs, runBlock(1, true)), 64 * MiB)),
    'CorruptError BAD_STRUCTURE: damaged: zstd bytes that should decode to 67108864 bytes do not decode',
    'a small root that claims 64 MiB'
  )
  const two = zstdFrame(pairs.subarray(0, sizeOf(6) + second.length), zstdBlock(0, 0, Buffer.of(), true))
  t.equal(decode('zstd', two, 256 * KiB).length, 256 * KiB, 'the blocks of a bomb are good ones')
  const grown = (process.resourceUsage().maxRSS - before) / KiB
  t.ok(grown < 50, `memory grew by ${Math.round(grown)} MiB`)
})

await t.test('codecs: every one gives back what it got', (t) => {
  const samples = [1, 2, 13, 512, 65_536, 131_072, 131_073, 1_000_003].flatMap((size) => [
    textBytes(size, size),
    mixedBytes(size, size),
    zeroBytes(size)
  ])
  for (const [codec, level] of [
    ['lz4', 0],
    ['zstd', 1],
    ['zstd', 3]
  ] as const) {
    const encode = createBlockEncoder(codec, level)
    const wrong = samples.filter((raw) => {
      const stored = encode(raw)
      if (stored === undefined) return false
      return stored.length >= raw.length || difference(decode(codec, stored, raw.length), raw) !== 'equal'
    })
    t.equal(wrong.length, 0, `${codec} ${level}`)
    t.ok((encode(textBytes(65_536, 1))?.length ?? 65_536) < 40_000, `${codec} ${level} shrinks text`)
  }
  t.equal(createBlockEncoder('raw', 0)(zeroBytes(1000)), undefined, 'raw never shrinks')
  t.equal(decode('raw', Buffer.from('abc'), 3).toString(), 'abc')
  t.end()
})

await t.test('codecs: what does not shrink is not encoded', (t) => {
  for (const codec of ['lz4', 'zstd'] as const) {
    const encode = createBlockEncoder(codec, 3)
    for (const size of [1, 100, 65_536])
      t.equal(encode(randomBytes(size, size)), undefined, `${codec} ${size}`)
  }
  t.end()
})

await t.test('codecs: the level is used, up to the highest', (t) => {
  const raw = textBytes(20_000, 1)
  const sizes = [1, 3, 9, 19].map((level) => {
    const stored = createBlockEncoder('zstd', level)(raw) ?? raw
    t.equal(difference(decode('zstd', stored, raw.length), raw), 'equal', `level ${level}`)
    return stored.length
  })
  t.equal(new Set(sizes).size, 4, `sizes at levels 1, 3, 9, 19: ${sizes.join(', ')}`)
  t.ok((sizes[3] ?? 0) < 0.9 * (sizes[0] ?? 0))
  t.end()
})

await t.test('codecs: a dictionary is used on both sides', (t) => {
  const raw = textBytes(4 * KiB, 1)
  const dictionary = textBytes(32 * KiB, 2)
  const stored = createBlockEncoder('zstd', 3, dictionary)(raw)
  if (stored === undefined) throw new Error('text shrinks')
  t.ok(stored.length < (createBlockEncoder('zstd', 3)(raw)?.length ?? 0))
  t.equal(difference(createBlockDecoder(dictionary)('zstd', stored, raw.length, true), raw), 'equal')
  const plain = createBlockEncoder('zstd', 3)(raw) ?? raw
  t.equal(
    difference(createBlockDecoder(dictionary)('zstd', plain, raw.length), raw),
    'equal',
    'without it, too'
  )
  t.equal(
    caught(() => createBlockDecoder()('zstd', stored, raw.length, true)),
    'CorruptError BAD_STRUCTURE: damaged: it needs a dictionary that is not there'
  )
  t.match(
    caught(() => createBlockDecoder(dictionary)('zstd', stored, raw.length, false)),
    /^CorruptError BAD_STRUCTURE: damaged: zstd bytes that should decode to 4096 bytes/,
    'what is not flagged does not get it'
  )
  t.end()
})

await t.test('decoder: bytes of another size are refused', (t) => {
  const raw = textBytes(5000, 1)
  for (const codec of ['lz4', 'zstd'] as const) {
    const stored = createBlockEncoder(codec, 3)(raw) ?? raw
    for (const size of [0, 1, 4999, 5001, formatLimits.chunkSizeMax])
      t.match(
        caught(() => decode(codec, stored, size)),
        new RegExp(
          `^CorruptError BAD_STRUCTURE: damaged: ${codec} bytes that should decode to ${size} bytes (do not decode|decode to 5000)$`
        )
      )
  }
  t.equal(
    caught(() => decode('raw', raw, 5001)),
    'CorruptError BAD_STRUCTURE: damaged: raw bytes that should decode to 5001 bytes decode to 5000'
  )
  t.end()
})

await t.test('decoder: hostile bytes give a CorruptError, or exactly the size asked for', (t) => {
  const raws = [textBytes(3000, 1), mixedBytes(3000, 2), zeroBytes(3000)]
  const blocks = raws.flatMap((raw) => [
    createBlockEncoder('lz4', 0)(raw) ?? raw,
    createBlockEncoder('zstd', 3)(raw) ?? raw
  ])
  const damaged = fc.tuple(
    fc.constantFrom(...blocks),
    fc.array(fc.tuple(fc.nat(5000), fc.nat(255)), { maxLength: 4 }),
    fc.nat(5000)
  )
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    damaged.map(([block, changes, size]) => {
      const copy = Uint8Array.from(block.subarray(0, 1 + (size % (block.length * 2))))
      for (const [at, value] of changes) copy[at % copy.length] = value
      return copy
    })
  )
  const property = fc.property(
    fc.constantFrom('lz4' as const, 'zstd' as const),
    bytes,
    fc.constantFrom(0, 1, 3000, 100_000),
    (codec, stored, rawSize) => {
      const error = caught(() => {
        if (decode(codec, stored, rawSize).length !== rawSize) throw new Error('wrong size')
      })
      return error === 'nothing was thrown' || error.startsWith('CorruptError BAD_STRUCTURE: damaged: ')
    }
  )
  return checkProperty(t, property, 3000)
})

await t.test('zstd frames: those of every encoder are within the bound', async (t) => {
  const encoders = [new Encoder(1), new Encoder(9)]
  for (const size of [100, 8 * KiB, 128 * KiB - 1, 128 * KiB, 128 * KiB + 1, 2 * MiB]) {
    const raws = [
      textBytes(size, size),
      mixedBytes(size, size),
      zeroBytes(size),
      repeatBytes(Buffer.from('abcd'), size / 4)
    ]
    for (const raw of raws) {
      const frames = [await zstdCompress(raw, 3), ...encoders.map((encoder) => encoder.encodeSync(raw))]
      const refused = frames.filter((frame) => !isBounded(frame, raw.length))
      if (refused.length > 0) t.fail(`${refused.length} frames of ${raw.length} bytes are refused`)
    }
  }
  const frame = zstdFrame(rawBlock(Buffer.from('abc')), runBlock(5, true))
  t.equal(isBounded(frame, 8), true, 'one made by hand')
  t.equal(Buffer.from(decode('zstd', frame, 8)).toString('latin1'), 'abc\x07\x07\x07\x07\x07')
})

await t.test('zstd frames: cut or continued, they are refused', (t) => {
  const frame = new Encoder(3).encodeSync(mixedBytes(300_000, 1))
  const accepted: number[] = []
  for (let size = 0; size < frame.length; size += size < 300 ? 1 : 997)
    if (isBounded(frame.subarray(0, size), 300_000)) accepted.push(size)
  t.strictSame(accepted, [])
  t.equal(isBounded(frame.subarray(0, -1), 300_000), false)
  t.equal(isBounded(frame, 300_000), true)
  t.equal(isBounded(Buffer.concat([frame, Buffer.of(0)]), 300_000), false, 'a byte more')
  t.equal(isBounded(Buffer.concat([frame, frame]), 600_000), false, 'two frames')
  const skippable = unhex('502a4d18 03000000 010203')
  t.equal(isBounded(Buffer.concat([skippable, frame]), 300_000), false, 'a skippable frame before it')
  t.equal(isBounded(Buffer.concat([frame, skippable]), 300_000), false, 'a skippable frame behind it')
  t.end()
})

await t.test('zstd frames: header fields', (t) => {
  const end = rawBlock(Buffer.from('abc'), true)
  const of = (header: string, ...rest: Uint8Array[]): Buffer => Buffer.concat([unhex(header), ...rest])
  const check = (frame: Uint8Array, rawSize = 3): boolean => isBounded(frame, rawSize)
  t.equal(check(of('28b52ffd 20 03', end)), true, 'content size of one byte')
  t.equal(check(of('28b52ffd 20 04', end), 3), false, 'another content size')
  t.equal(check(of('28b52ffd 60 0000', end), 256), true, 'content size of two bytes counts from 256')
  t.equal(check(of('28b52ffd 60 0300', end), 3), false)
  t.equal(check(of('28b52ffd a0 03000000', end)), true, 'content size of four bytes')
  t.equal(check(of('28b52ffd a0 03000001', end)), false)
  t.equal(check(of('28b52ffd e0 0300000000000000', end)), true, 'content size of eight bytes')
  t.equal(check(of('28b52ffd e0 0300000001000000', end)), false)
  t.equal(check(of('28b52ffd e0 ffffffffffffffff', end)), false)
  t.equal(check(of('28b52ffd 03 38 01020304', end)), true, 'a dictionary id of four bytes is passed over')
  t.equal(check(of('28b52ffd 24 03', end, unhex('aabbccdd'))), true, 'a checksum of the content')
  t.equal(check(of('28b52ffd 24 03', end)), false, 'the checksum is missing')
  t.equal(check(of('28b52ffd 00 68', end)), true, 'a window of 8 MiB')
  t.equal(check(of('28b52ffd 00 69', end)), false, 'a window of 9 MiB')
  t.equal(check(of('28b52ffd 00 ff', end)), false, 'a window of terabytes')
  t.equal(check(of('28b52ffe 00 38', end)), false, 'another magic')
  t.equal(check(unhex('28b52ffd e0 03')), false, 'cut inside the header')
  t.equal(check(unhex('28b52ffd')), false)
  t.equal(check(zstdFrame(zstdBlock(3, 3, Buffer.from('abc'), true))), false, 'a reserved block type')
  t.equal(isBounded(zstdFrame(runBlock(128 * KiB, true)), 128 * KiB), true)
  t.equal(isBounded(zstdFrame(runBlock(128 * KiB + 1, true)), MiB), false, 'a block beyond 128 KiB')
  t.end()
})

await t.test('index bytes: there and back, raw when they do not shrink', async (t) => {
  const text = textBytes(10_000, 1)
  const shrunk = await encodeIndexBytes(text)
  t.equal(shrunk.codec, 'zstd')
  t.equal(difference(await decodeIndexBytes('zstd', shrunk.stored, 10_000), text), 'equal')
  const random = randomBytes(10_000, 1)
  const raw = await encodeIndexBytes(random)
  t.equal(raw.codec, 'raw')
  t.equal(raw.stored, random)
  t.equal(difference(await decodeIndexBytes('raw', random, 10_000), random), 'equal')
  t.equal(
    await rejected(decodeIndexBytes('raw', random, 9999)),
    'CorruptError BAD_STRUCTURE: damaged: raw bytes that should decode to 9999 bytes decode to 10000'
  )
  t.equal(
    await rejected(decodeIndexBytes('lz4', random, 10_000)),
    'CorruptError BAD_STRUCTURE: damaged: an index page or root cannot be LZ4'
  )
  const cut = Buffer.from(shrunk.stored)
  cut[cut.length - 5] = (cut[cut.length - 5] ?? 0) ^ 0xff
  t.match(await rejected(decodeIndexBytes('zstd', cut, 10_000)), /^(CorruptError BAD_STRUCTURE|nothing)/)
  const digests = Buffer.concat(
    Array.from({ length: 20_000 }, (_, i) => Buffer.concat([randomBytes(32, i), zeroBytes(25)]))
  )
  const root = await encodeIndexBytes(digests)
  t.equal(
    difference(await decodeIndexBytes(root.codec, root.stored, digests.length), digests),
    'equal',
    'a root of 20,000 pages at its densest is well within the bound'
  )
})
