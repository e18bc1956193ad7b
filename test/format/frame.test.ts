import t from 'tap'
import { crc32 } from 'node:zlib'
import {
  checkFrame,
  decodeFrameHeader,
  decodeHolePayload,
  decodeRepeatPayload,
  encodeFrame,
  encodeHoleFrame,
  encodeRepeatFrame,
  frameHeaderSize,
  frameTypes,
  isFrameIntact,
  sealFrameHeader,
  type FrameTypeName
} from '../../lib/format/frame.js'
import { decodeKeySlot, encodeKeySlot, type KeySlot } from '../../lib/format/key-slots.js'
import { formatLimits } from '../../lib/limits.js'
import { hex, unhex } from '../helpers/bytes.js'
import { caught, flipEachBit } from '../helpers/errors.js'

/** A frame header of any fields, without payload. */
function forge(fields: {
  type: number
  codec?: number
  flags?: number
  rawSize?: number
  payloadSize?: number
}) {
  const bytes = new Uint8Array(frameHeaderSize)
  const view = new DataView(bytes.buffer)
  bytes.set([fields.type, fields.codec ?? 0, 0, fields.flags ?? 0], 4)
  view.setUint32(8, fields.rawSize ?? 0, true)
  view.setUint32(12, fields.payloadSize ?? 0, true)
  return bytes
}

await t.test('frame: exact bytes, and back', (t) => {
  const frame = encodeFrame(Uint8Array.of(1, 2, 3), {
    type: 'page',
    codec: 'zstd',
    stream: 1,
    rawSize: 0x00010203
  })
  t.equal(hex(frame), hex(unhex('a941d5c9 05 02 01 00 03020100 03000000 010203')))
  t.strictSame(decodeFrameHeader(frame, 'x', 0), {
    type: 'page',
    codec: 'zstd',
    stream: 1,
    usesDictionary: false,
    rawSize: 0x00010203,
    payloadSize: 3
  })
  const block = encodeFrame(new Uint8Array(9), {
    type: 'block',
    codec: 'zstd',
    usesDictionary: true,
    rawSize: 7
  })
  t.equal(hex(block.subarray(4)), hex(unhex('02 02 00 01 07000000 09000000 000000000000000000')))
  t.equal(decodeFrameHeader(block, 'x', 0).usesDictionary, true)
  t.end()
})

await t.test('frame: every type has its number', (t) => {
  t.strictSame(frameTypes, { dictionary: 1, block: 2, repeat: 3, hole: 4, page: 5, root: 6, sealed: 7 })
  for (const [name, number] of Object.entries(frameTypes)) {
    const sizes = name === 'block' ? { rawSize: 1, payloadSize: 9 } : {}
    t.equal(decodeFrameHeader(forge({ type: number, ...sizes }), 'x', 0).type, name)
  }
  for (const sizes of [
    { rawSize: 0, payloadSize: 9 },
    { rawSize: 1, payloadSize: 8 }
  ])
    t.match(
      caught(() => decodeFrameHeader(forge({ type: 2, ...sizes }), 'x', 0)),
      /^CorruptError BAD_STRUCTURE: x is damaged at byte 0: a block frame claims /
    )
  t.end()
})

await t.test('frame: sealed in place around a payload that lies there', (t) => {
  const bytes = new Uint8Array(40).fill(0xee)
  sealFrameHeader(bytes, 10, 5, { type: 'block', codec: 'raw', stream: 3, rawSize: 5 })
  t.equal(hex(bytes.subarray(0, 10)) + hex(bytes.subarray(26)), 'ee'.repeat(24), 'nothing else is touched')
  const expected = encodeFrame(new Uint8Array(5).fill(0xee), { type: 'block', stream: 3, rawSize: 5 })
  t.equal(hex(bytes.subarray(10, 31)), hex(expected))
  t.end()
})

await t.test('frame: the checksum covers type, codec, stream, flags, sizes and payload', (t) => {
  const frame = encodeFrame(Buffer.from('payload'), { type: 'block', rawSize: 7 })
  t.equal(new DataView(frame.buffer).getUint32(0, true), crc32(frame.subarray(4)))
  t.equal(isFrameIntact(frame), true)
  t.strictSame(
    flipEachBit(frame, (damaged) => {
      if (isFrameIntact(damaged)) throw new Error('a flipped bit was not noticed')
    }),
    ['nothing was thrown']
  )
  t.equal(isFrameIntact(frame.subarray(0, -1)), false)
  frame[20] = 0
  t.equal(
    caught(() => checkFrame(frame, 'x', 77)),
    'CorruptError BAD_CHECKSUM: x is damaged at byte 77: the checksum of the frame there is wrong'
  )
  t.end()
})

await t.test('frame: unknown kinds are refused, and from 0x80 up they may be skipped', (t) => {
  const unknown =
    'UnsupportedError UNKNOWN_FEATURE: x has a frame of an unknown kind at byte 77: it is damaged, or was made by a newer hexz'
  const decode = (fields: Parameters<typeof forge>[0]): string =>
    caught(() => decodeFrameHeader(forge(fields), 'x', 77))
  for (const type of [0, 8, 0x7f]) t.equal(decode({ type }), unknown, `type ${type}`)
  t.equal(decode({ type: 2, codec: 3 }), unknown)
  for (const flags of [2, 3, 0x80]) t.equal(decode({ type: 2, flags }), unknown, `flags ${flags}`)
  for (const type of [0x80, 0xff])
    t.strictSame(
      decodeFrameHeader(forge({ type, codec: 9, flags: 0xff, rawSize: 0xffffffff, payloadSize: 5 }), 'x', 0),
      { type: 'skip', codec: 'raw', stream: 0, usesDictionary: false, rawSize: 0xffffffff, payloadSize: 5 }
    )
  t.end()
})

await t.test('frame: sizes beyond each type’s limit are refused', (t) => {
  const maxima: Record<FrameTypeName, [payloadSize: number, rawSize: number]> = {
    dictionary: [1048576, 1048576],
    block: [4194304 + 8, 4194304],
    repeat: [6144, 0xffffffff],
    hole: [8, 0],
    page: [253952, 253952],
    root: [67108864, 67108864],
    sealed: [67108864 + 32, 0]
  }
  for (const [name, [payloadSize, rawSize]] of Object.entries(maxima)) {
    const type = frameTypes[name as FrameTypeName]
    const refused = (size: number): string =>
      `CorruptError BAD_STRUCTURE: x is damaged at byte 9: a ${name} frame claims ${size} bytes`
    t.equal(decodeFrameHeader(forge({ type, payloadSize, rawSize }), 'x', 9).payloadSize, payloadSize, name)
    t.equal(
      caught(() => decodeFrameHeader(forge({ type, payloadSize: payloadSize + 1 }), 'x', 9)),
      refused(payloadSize + 1)
    )
    if (rawSize < 0xffffffff)
      t.equal(
        caught(() => decodeFrameHeader(forge({ type, rawSize: rawSize + 1 }), 'x', 9)),
        refused(rawSize + 1)
      )
  }
  t.equal(
    caught(() => decodeFrameHeader(forge({ type: 0x80, payloadSize: 67108865 }), 'x', 9)),
    'CorruptError BAD_STRUCTURE: x is damaged at byte 9: a skip frame claims 67108865 bytes'
  )
  t.end()
})

await t.test('hole and repeat: exact bytes, and back', (t) => {
  const hole = encodeHoleFrame(1, 2 ** 40)
  t.equal(hex(hole), hex(unhex('fcdaa4a9 04 00 01 00 00000000 08000000 0000000000010000')))
  t.equal(decodeHolePayload(hole.subarray(16), 'x'), 2 ** 40)
  const repeat = encodeRepeatFrame(0, 131072, [50, 2 ** 40 + 7])
  t.equal(hex(repeat), hex(unhex('f67339cb 03 00 00 00 00000200 0c000000 320000000000 070000000001')))
  t.strictSame(decodeRepeatPayload(repeat.subarray(16), 'x'), [50, 2 ** 40 + 7])
  t.end()
})

await t.test('hole and repeat: payloads of a wrong size are refused', (t) => {
  const hole = encodeHoleFrame(0, 5).subarray(16)
  t.equal(
    caught(() => decodeHolePayload(hole.subarray(1), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: expected 8 more bytes, found 7'
  )
  t.equal(
    caught(() => decodeHolePayload(Buffer.concat([hole, hole]), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: expected no more bytes, found 8'
  )
  t.equal(
    caught(() => decodeHolePayload(new Uint8Array(8), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: a hole in it is empty'
  )
  t.equal(
    caught(() => decodeRepeatPayload(new Uint8Array(0), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: a repeat frame in it names no block'
  )
  t.equal(
    caught(() => decodeRepeatPayload(new Uint8Array(8), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: expected 6 more bytes, found 2'
  )
  t.equal(
    caught(() => encodeRepeatFrame(0, 1, [formatLimits.fileSizeMax + 1])),
    'LimitError LIMIT: 281474976710656 does not fit a field of 6 bytes'
  )
  t.equal(
    caught(() => encodeHoleFrame(0, 2 ** 53)),
    'LimitError LIMIT: 9007199254740992 does not fit a field of 8 bytes'
  )
  t.end()
})

const fill = (size: number, byte: number): Uint8Array => new Uint8Array(size).fill(byte)
const passphrase: KeySlot = {
  type: 'passphrase',
  logN: 17,
  r: 8,
  p: 1,
  salt: fill(32, 1),
  nonce: fill(12, 2),
  wrappedKey: fill(32, 3),
  tag: fill(16, 4)
}
const recipient: KeySlot = { type: 'recipient', keyId: fill(32, 5), wrappedKey: fill(512, 6) }

await t.test('key slot: exact bytes, and back', (t) => {
  t.equal(
    hex(encodeKeySlot(passphrase)),
    hex(
      unhex(`01 000000 01 11 08 01 ${'01'.repeat(32)} ${'02'.repeat(12)} ${'03'.repeat(32)} ${'04'.repeat(16)}
             ${'00'.repeat(536)} 3287fa56`)
    )
  )
  t.strictSame(decodeKeySlot(encodeKeySlot(passphrase), 'x'), passphrase)
  const bytes = encodeKeySlot(recipient)
  t.equal(
    hex(bytes.subarray(0, 636)),
    hex(unhex(`02 000000 01 00 0002 ${'05'.repeat(32)} ${'06'.repeat(512)} ${'00'.repeat(84)}`))
  )
  t.equal(new DataView(bytes.buffer).getUint32(636, true), crc32(bytes.subarray(0, 636)))
  t.strictSame(decodeKeySlot(bytes, 'x'), recipient)
  t.equal(hex(encodeKeySlot(undefined)), '00'.repeat(640))
  t.equal(decodeKeySlot(new Uint8Array(640), 'x'), undefined)
  t.end()
})

await t.test('key slot: limits, damage and unknown kinds', (t) => {
  t.strictSame(
    decodeKeySlot(encodeKeySlot({ ...recipient, wrappedKey: fill(596, 7) }), 'x'),
    { ...recipient, wrappedKey: fill(596, 7) },
    'the largest key that fits'
  )
  t.equal(
    caught(() => encodeKeySlot({ ...recipient, wrappedKey: fill(597, 7) })),
    'LimitError LIMIT: a wrapped key of 597 bytes does not fit a key slot; use RSA up to 4096 bits'
  )
  t.match(
    caught(() => encodeKeySlot({ ...passphrase, salt: fill(31, 1) })),
    /^Error: layout of 640 bytes was filled with 639$/
  )
  const bytes = encodeKeySlot(passphrase)
  const wrong = Array.from({ length: 640 }, (_, i) => {
    const damaged = bytes.slice()
    damaged[i] = (damaged[i] ?? 0) ^ 1
    return caught(() => decodeKeySlot(damaged, 'slot 3'))
  })
  t.strictSame([...new Set(wrong)], ['CorruptError BAD_CHECKSUM: slot 3 is damaged: its checksum is wrong'])

  const kind = (type: number, scheme: number, wrappedSize = 0): string => {
    const forged = new Uint8Array(640)
    forged.set([type, 0, 0, 0, scheme, 0, wrappedSize & 0xff, wrappedSize >> 8])
    new DataView(forged.buffer).setUint32(636, crc32(forged.subarray(0, 636)), true)
    return caught(() => decodeKeySlot(forged, 'slot 3'))
  }
  const unknown = (what: string): string =>
    `UnsupportedError UNKNOWN_FEATURE: slot 3 is of a kind (${what}) that this hexz does not know: use a newer hexz`
  t.equal(kind(3, 1), unknown('3.1'))
  t.equal(kind(1, 2), unknown('1.2'))
  t.equal(kind(2, 0), unknown('2.0'))
  t.equal(
    kind(2, 1, 597),
    'CorruptError BAD_STRUCTURE: slot 3 is damaged: expected 597 more bytes, found 596'
  )
  t.end()
})
