import t from 'tap'
import { crc32 } from 'node:zlib'
import {
  decodeHeader,
  encodeHeader,
  keySlotsSize,
  readHeaderSize,
  type Header
} from '../../lib/format/header.js'
import { hex, unhex } from '../helpers/bytes.js'
import { caught, flipEachBit } from '../helpers/errors.js'

const header: Header = {
  major: 1,
  minor: 0,
  profile: 'eda',
  chunker: 'fastcdc',
  codec: 'zstd',
  level: 3,
  chunkSizeMin: 32 * 1024,
  chunkSizeAvg: 128 * 1024,
  chunkSizeMax: 256 * 1024,
  encrypted: false,
  streams: ['disk', 'memory']
}

/** The header's bytes with some changed, under a right checksum again. */
function forge(changes: Readonly<Record<number, number>>, of: Header = header): Uint8Array {
  const bytes = encodeHeader(of)
  for (const [offset, byte] of Object.entries(changes)) bytes[Number(offset)] = byte
  return seal(bytes)
}

function seal(bytes: Uint8Array): Uint8Array {
  new DataView(bytes.buffer).setUint32(bytes.length - 4, crc32(bytes.subarray(0, -4)), true)
  return bytes
}

await t.test('header: exact bytes', (t) => {
  const expected = `
    89 48 45 58 5a 0d 0a 1a  0100 0000 41000000
    00000000 00000000
    01 02 03 01 00 00 0000  00800000 00000200 00000400
    03 656461
    02 04 6469736b 06 6d656d6f7279
    49a6bae9`
  t.equal(hex(encodeHeader(header)), hex(unhex(expected)))
  t.equal(
    hex(encodeHeader({ ...header, encrypted: true })),
    hex(
      unhex(
        expected
          .replace('41000000\n    00000000', '41000000\n    01000000')
          .replace('03 01 00 00 0000', '03 01 01 10 8002')
          .replace('49a6bae9', '8bc77607')
      )
    ),
    'encrypted: 16 slots of 640 bytes'
  )
  t.equal(keySlotsSize(header), 0)
  t.equal(keySlotsSize({ ...header, encrypted: true }), 10240)
  t.end()
})

await t.test('header: what is encoded comes back', (t) => {
  const sixteen = Array.from({ length: 16 }, (_, i) => `stream-${i}`.padEnd(64, 'x'))
  const cases: Header[] = [
    header,
    { ...header, encrypted: true },
    { ...header, minor: 7 },
    { ...header, profile: '', streams: ['d'] },
    { ...header, profile: 'p'.repeat(32), streams: sixteen },
    { ...header, profile: ' ~', streams: ['0.-_', 'disk'] },
    {
      ...header,
      chunker: 'fixed',
      codec: 'raw',
      level: 0,
      chunkSizeMin: 512,
      chunkSizeAvg: 512,
      chunkSizeMax: 512
    },
    { ...header, codec: 'lz4', chunkSizeMax: 4 * 1024 * 1024 }
  ]
  for (const one of cases) {
    const bytes = encodeHeader(one)
    t.equal(readHeaderSize(bytes.subarray(0, 16), 'x'), bytes.length)
    t.strictSame(decodeHeader(bytes, 'x'), one)
  }
  t.end()
})

await t.test('header: what does not fit is not written', (t) => {
  const tooLong = 'LimitError LIMIT: a name is too long for the header, or empty'
  t.equal(
    caught(() => encodeHeader({ ...header, profile: 'p'.repeat(33) })),
    tooLong
  )
  t.equal(
    caught(() => encodeHeader({ ...header, streams: ['s'.repeat(65)] })),
    tooLong
  )
  t.equal(
    caught(() => encodeHeader({ ...header, streams: ['disk', ''] })),
    tooLong
  )
  t.equal(
    caught(() => encodeHeader({ ...header, streams: Array.from({ length: 80 }, () => 's'.repeat(64)) })),
    'LimitError LIMIT: the header would take 5253 bytes; at most 4096 fit'
  )
  for (const streams of [['..'], ['größe'], ['a/b']])
    t.equal(
      caught(() => encodeHeader({ ...header, streams })),
      `UsageError USAGE: "${streams.join('')}" is not a name for a header`
    )
  t.equal(
    caught(() => encodeHeader({ ...header, profile: 'a\nb' })),
    'UsageError USAGE: "a\nb" is not a name for a header'
  )
  t.equal(
    caught(() => encodeHeader({ ...header, level: 256 })),
    'LimitError LIMIT: 256 does not fit a field of 1 bytes'
  )
  t.end()
})

await t.test('header size: magic and bounds', (t) => {
  const prelude = encodeHeader(header).subarray(0, 16)
  const size = (bytes: Uint8Array): string => caught(() => readHeaderSize(bytes, 'x'))
  const sized = (value: number): Uint8Array => {
    const bytes = prelude.slice()
    new DataView(bytes.buffer).setUint32(12, value, true)
    return bytes
  }
  t.equal(size(new Uint8Array(0)), 'CorruptError NOT_A_SNAPSHOT: x is empty, not a snapshot')
  const notOne = 'CorruptError NOT_A_SNAPSHOT: x is not a snapshot, or its first bytes are damaged'
  t.equal(size(Buffer.from('not a snapshot..')), notOne)
  t.equal(size(Buffer.from('no')), notOne)
  t.equal(
    size(Buffer.from(hex(prelude).replace('0d0a', '0a0a'), 'hex')),
    notOne,
    'after a text-mode transfer'
  )
  const cut = 'CorruptError INCOMPLETE: x is incomplete: it ends inside its header'
  for (let length = 1; length < 16; length++) t.equal(size(prelude.subarray(0, length)), cut)
  t.equal(size(sized(49)), 'CorruptError BAD_STRUCTURE: the header of x is damaged: it claims 49 bytes')
  t.equal(size(sized(4097)), 'CorruptError BAD_STRUCTURE: the header of x is damaged: it claims 4097 bytes')
  t.equal(
    size(sized(0xffffffff)),
    'CorruptError BAD_STRUCTURE: the header of x is damaged: it claims 4294967295 bytes'
  )
  t.equal(readHeaderSize(sized(4096), 'x'), 4096)
  t.end()
})

await t.test('header: every flipped bit of it is noticed', (t) => {
  t.strictSame(
    flipEachBit(encodeHeader(header), (damaged) => decodeHeader(damaged, 'x')),
    ['CorruptError BAD_CHECKSUM: the header of x is damaged: its checksum is wrong']
  )
  t.end()
})

await t.test('header: versions and flags', (t) => {
  const decode = (changes: Record<number, number>): string => caught(() => decodeHeader(forge(changes), 'x'))
  t.equal(
    decode({ 8: 2, 10: 1 }),
    'UnsupportedError NEWER_VERSION: x has format 2.1; this hexz reads up to 1.x: use a newer hexz'
  )
  t.equal(
    decode({ 8: 2, 16: 0xff, 24: 0xff }),
    'UnsupportedError NEWER_VERSION: x has format 2.0; this hexz reads up to 1.x: use a newer hexz',
    'the version comes before anything it may have changed'
  )
  t.strictSame(decodeHeader(forge({ 10: 0xff, 11: 0xff }), 'x'), { ...header, minor: 0xffff })
  t.equal(
    decode({ 16: 2 }),
    'UnsupportedError UNKNOWN_FEATURE: x uses required flags 2, which this hexz does not know: use a newer hexz'
  )
  t.match(decode({ 19: 0x80 }), /^UnsupportedError UNKNOWN_FEATURE: x uses required flags /)
  t.strictSame(decodeHeader(forge({ 20: 0xff, 21: 0xff, 22: 0xff, 23: 0xff }), 'x'), header, 'optional flags')
  t.end()
})

await t.test('header: fields out of range', (t) => {
  const decode = (changes: Record<number, number>, of?: Header): string =>
    caught(() => decodeHeader(forge(changes, of), 'x'))
  const unknown = (what: string): string =>
    `UnsupportedError UNKNOWN_FEATURE: x uses ${what}, which this hexz does not know: use a newer hexz`
  t.equal(decode({ 24: 2 }), unknown('chunker 2'))
  t.equal(decode({ 25: 3 }), unknown('codec 3'))
  t.equal(decode({ 27: 0 }), unknown('digest 0'))
  t.equal(
    decode({ 28: 1 }),
    'CorruptError BAD_STRUCTURE: the header of x is damaged: cipher 1 does not go with its flags',
    'a cipher, but not encrypted'
  )
  t.equal(decode({ 29: 16 }), unknown('key slot layout 16'))
  t.equal(decode({ 31: 2 }), unknown('key slot layout 0'))
  const encrypted = { ...header, encrypted: true }
  t.equal(decode({ 28: 2 }, encrypted), unknown('cipher 2'))
  t.equal(decode({ 29: 15 }, encrypted), unknown('key slot layout 15'))
  const sizes = 'CorruptError BAD_STRUCTURE: the header of x is damaged: chunk sizes'
  t.equal(decode({ 32: 0xff, 33: 1 }), `${sizes} 511, 131072, 262144`)
  t.equal(decode({ 34: 2, 32: 1, 33: 0 }), `${sizes} 131073, 131072, 262144`)
  t.equal(decode({ 42: 1 }), `${sizes} 32768, 131072, 65536`)
  t.equal(decode({ 42: 0x40, 40: 1 }), `${sizes} 32768, 131072, 4194305`)
  t.equal(decode({ 43: 0xff }), `${sizes} 32768, 131072, 4278452224`)
  t.end()
})

await t.test('header: streams and names', (t) => {
  const bad = (count: number): string =>
    `CorruptError BAD_STRUCTURE: the header of x is damaged: it names ${count} streams`
  const withNames = (profile: string, names: readonly string[]): string => {
    const fixed = encodeHeader(header).subarray(0, 44)
    const text = (value: string): Buffer => Buffer.from([Buffer.byteLength(value), ...Buffer.from(value)])
    const parts = [fixed, text(profile), Buffer.of(names.length), ...names.map(text), Buffer.alloc(4)]
    return caught(() => decodeHeader(seal(Uint8Array.from(Buffer.concat(parts))), 'x'))
  }
  t.equal(withNames('eda', []), bad(0))
  t.equal(withNames('eda', ['disk', 'disk']), bad(2))
  t.equal(
    withNames(
      'eda',
      Array.from({ length: 17 }, (_, i) => `s${i}`)
    ),
    bad(17)
  )
  const damaged = 'CorruptError BAD_STRUCTURE: the header of x is damaged:'
  const oddNames = [
    '',
    's'.repeat(65),
    '..',
    '.',
    '-x',
    'a/b',
    'a\0b',
    'a\nb',
    'a\x1b[2J',
    'Disk',
    'größe',
    'a b'
  ]
  for (const name of oddNames)
    t.equal(
      withNames('eda', ['disk', name]),
      `${damaged} a stream name in it is not up to 64 of a-z 0-9 . _ -`,
      JSON.stringify(name)
    )
  for (const profile of ['p'.repeat(33), 'a\x1b[2J', 'a\nb', 'größe', 'a\x7f'])
    t.equal(
      withNames(profile, ['disk']),
      `${damaged} its profile is not up to 32 letters of printable ASCII`,
      JSON.stringify(profile)
    )
  t.equal(
    caught(() => decodeHeader(forge({ 49: 200 }), 'x')),
    'CorruptError BAD_STRUCTURE: the header of x is damaged: expected 200 more bytes, found 11'
  )
  t.equal(
    caught(() => decodeHeader(forge({ 48: 1 }), 'x')),
    'CorruptError BAD_STRUCTURE: the header of x is damaged: expected no more bytes, found 7'
  )
  t.end()
})
