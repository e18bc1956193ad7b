import t from 'tap'
import { copyBytes, readFields, writeFields } from '../../lib/format/bytes.js'
import { hex, unhex } from '../helpers/bytes.js'
import { caught } from '../helpers/errors.js'

await t.test('fields are little-endian and come back', (t) => {
  const bytes = writeFields(40)
    .u8(0x12)
    .u16(0x1234)
    .u32(0x12345678)
    .i32(-2)
    .u48(0x123456789abc)
    .u64(0x1456789abcdef0)
    .bytes(Buffer.from('añ'))
    .zeros(12)
    .done()
  t.equal(
    hex(bytes),
    hex(unhex(`12 3412 78563412 feffffff bc9a78563412 f0debc9a78561400 61c3b1 ${'00'.repeat(12)}`))
  )
  const fields = readFields(bytes, 'x')
  t.equal(fields.u8(), 0x12)
  t.equal(fields.u16(), 0x1234)
  t.equal(fields.u32(), 0x12345678)
  t.equal(fields.i32(), -2)
  t.equal(fields.u48(), 0x123456789abc)
  t.equal(fields.u64(), 0x1456789abcdef0)
  t.equal(fields.offset, 25)
  t.equal(fields.text(3), 'añ')
  t.equal(hex(fields.bytes(12)), '00'.repeat(12))
  fields.end()
  t.end()
})

await t.test('the largest and smallest of each width', (t) => {
  const bytes = writeFields(41)
    .u8(255)
    .u16(0xffff)
    .u32(0xffffffff)
    .i32(2 ** 31 - 1)
    .i32(-(2 ** 31))
    .u48(2 ** 48 - 1)
    .u64(Number.MAX_SAFE_INTEGER)
    .u32(0)
    .u64(0)
    .done()
  t.equal(
    hex(bytes),
    hex(unhex('ff ffff ffffffff ffffff7f 00000080 ffffffffffff ffffffffffff1f00 00000000 0000000000000000'))
  )
  const fields = readFields(bytes, 'x')
  t.strictSame(
    [fields.u8(), fields.u16(), fields.u32(), fields.i32(), fields.i32(), fields.u48(), fields.u64()],
    [255, 0xffff, 0xffffffff, 2 ** 31 - 1, -(2 ** 31), 2 ** 48 - 1, 2 ** 53 - 1]
  )
  t.end()
})

await t.test('a 64-bit number from 2^53 on is refused', (t) => {
  const tooLarge =
    'CorruptError BAD_STRUCTURE: x is damaged: expected a number below 2^53, found a larger one'
  for (const text of ['0000000000002000', '0100000000002000', 'ffffffffffffffff', '0000000000000080'])
    t.equal(
      caught(() => readFields(unhex(text), 'x').u64()),
      tooLarge
    )
  t.equal(readFields(unhex('ffffffffffff1f00'), 'x').u64(), Number.MAX_SAFE_INTEGER)
  t.end()
})

await t.test('a number that does not fit is not written', (t) => {
  const refused: [string, () => unknown][] = [
    ['256 does not fit a field of 1 bytes', () => writeFields(1).u8(256)],
    ['-1 does not fit a field of 1 bytes', () => writeFields(1).u8(-1)],
    ['65536 does not fit a field of 2 bytes', () => writeFields(2).u16(65536)],
    ['4294967296 does not fit a field of 4 bytes', () => writeFields(4).u32(2 ** 32)],
    ['0.5 does not fit a field of 4 bytes', () => writeFields(4).u32(0.5)],
    ['NaN does not fit a field of 4 bytes', () => writeFields(4).u32(NaN)],
    ['2147483648 does not fit a field of 4 bytes', () => writeFields(4).i32(2 ** 31)],
    ['-2147483649 does not fit a field of 4 bytes', () => writeFields(4).i32(-(2 ** 31) - 1)],
    ['1.5 does not fit a field of 4 bytes', () => writeFields(4).i32(1.5)],
    ['NaN does not fit a field of 4 bytes', () => writeFields(4).i32(NaN)],
    ['281474976710656 does not fit a field of 6 bytes', () => writeFields(6).u48(2 ** 48)],
    ['9007199254740992 does not fit a field of 8 bytes', () => writeFields(8).u64(2 ** 53)],
    ['Infinity does not fit a field of 8 bytes', () => writeFields(8).u64(Infinity)]
  ]
  for (const [message, write] of refused) t.equal(caught(write), `LimitError LIMIT: ${message}`)
  t.end()
})

await t.test('a layout and its size cannot drift apart', (t) => {
  t.equal(
    caught(() => writeFields(3).u16(1).done()),
    'Error: layout of 3 bytes was filled with 2'
  )
  t.match(
    caught(() => writeFields(3).u32(1)),
    /^RangeError: /
  )
  t.match(
    caught(() => writeFields(3).bytes(Buffer.alloc(4))),
    /^RangeError: /
  )
  t.equal(
    caught(() => writeFields(3).zeros(4).done()),
    'Error: layout of 3 bytes was filled with 4'
  )
  t.end()
})

await t.test('nothing is read past the end, and nothing is left over', (t) => {
  const fields = readFields(Buffer.alloc(7), 'x')
  t.equal(fields.u32(), 0)
  const past = (expected: number): string =>
    `CorruptError BAD_STRUCTURE: x is damaged: expected ${expected} more bytes, found 3`
  t.equal(
    caught(() => fields.u32()),
    past(4)
  )
  t.equal(
    caught(() => fields.u48()),
    past(6)
  )
  t.equal(
    caught(() => fields.u64()),
    past(8)
  )
  t.equal(
    caught(() => fields.bytes(4)),
    past(4)
  )
  t.equal(
    caught(() => fields.text(0xffffffff)),
    past(0xffffffff)
  )
  t.equal(
    caught(() => fields.end()),
    'CorruptError BAD_STRUCTURE: x is damaged: expected no more bytes, found 3'
  )
  t.equal(hex(fields.bytes(3)), '000000', 'a failed read takes nothing')
  t.equal(
    caught(() => fields.u8()),
    'CorruptError BAD_STRUCTURE: x is damaged: expected 1 more bytes, found 0'
  )
  t.equal(
    caught(() => fields.end()),
    'nothing was thrown'
  )
  t.end()
})

await t.test('a view into a larger buffer is read at its own offset', (t) => {
  const view = unhex('ffff 0100 0200 ffff').subarray(2, 6)
  const fields = readFields(view, 'x')
  t.strictSame([fields.u16(), fields.u16()], [1, 2])
  fields.end()
  t.end()
})

await t.test('copyBytes is set, whatever the memory and however it lies', (t) => {
  const source = Uint8Array.from({ length: 300 }, (_, i) => i % 251)
  for (const [size, offset, start] of [
    [300, 0, 0],
    [299, 3, 1],
    [1, 339, 7],
    [0, 340, 0],
    [64, 8, 8]
  ] as const) {
    const piece = source.subarray(start, start + size)
    const expected = new Uint8Array(340).fill(255)
    expected.set(piece, offset)
    for (const memory of [new SharedArrayBuffer(345), new ArrayBuffer(345)]) {
      const target = new Uint8Array(memory, 5).fill(255)
      copyBytes(piece, target, offset)
      t.strictSame(Buffer.from(target), Buffer.from(expected), `${size} at ${offset}`)
    }
  }
  t.match(
    caught(() => copyBytes(source, new Uint8Array(300), 1)),
    /^RangeError/
  )
  t.end()
})
