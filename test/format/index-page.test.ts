import t from 'tap'
import {
  decodeIndexPage,
  decodePageColumns,
  encodeIndexPage,
  holdsEntries,
  type ChunkEntry,
  type Entry,
  type IndexPage
} from '../../lib/format/index-page.js'
import { hex, unhex } from '../helpers/bytes.js'
import { caught } from '../helpers/errors.js'

const digest = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)
const block = (blockOffset: number, storedSize: number, rawSize = 65536): ChunkEntry => ({
  kind: 'block',
  rawSize,
  digest: digest(1),
  blockOffset,
  storedSize,
  innerOffset: 0
})

const page: IndexPage = {
  stream: 1,
  streamOffset: 2 ** 33,
  entries: [
    block(100, 500),
    { ...block(100, 500, 7), digest: digest(2), innerOffset: 65536 },
    { kind: 'hole', rawSize: 2 ** 40 },
    { ...block(100, 500), kind: 'repeat' }
  ]
}

await t.test('index page: exact bytes, and back', (t) => {
  const expected = unhex(`
    01 000000 04000000 03000000 0000000002000000
    ${'01'.repeat(32)} ${'02'.repeat(32)} ${'01'.repeat(32)}
    00 00 02 01
    00000100 07000000 00000100
    0000000000010000
    640000000000 0cfeffffffff 0cfeffffffff
    f4010000 f4010000 f4010000
    00000000 00000100 00000000`)
  t.equal(hex(encodeIndexPage(page)), hex(expected))
  t.strictSame(decodeIndexPage(Uint8Array.from(expected), 'x'), page)
  t.end()
})

await t.test('index page: it is told whether a decoded one holds what was meant', (t) => {
  const decoded = decodePageColumns(encodeIndexPage(page), 'x')
  t.equal(holdsEntries(decoded, page), true)
  const other = (entry: object, index = 0): IndexPage => ({
    ...page,
    entries: page.entries.map((given, i) => (i === index ? { ...given, ...entry } : given))
  })
  const wrongDigest = digest(1)
  wrongDigest[31] = 0
  const others: IndexPage[] = [
    { ...page, stream: 0 },
    { ...page, streamOffset: 1 },
    { ...page, entries: page.entries.slice(0, -1) },
    { ...page, entries: [...page.entries, block(700, 500)] },
    other({ kind: 'repeat' }),
    other({ rawSize: 1 }),
    other({ rawSize: 8 }, 3),
    other({ digest: wrongDigest }),
    other({ blockOffset: 101 }),
    other({ storedSize: 501 }),
    other({ innerOffset: 1 }),
    other({ rawSize: 2 ** 40 + 1 }, 2)
  ]
  t.strictSame(
    others.map((meant) => holdsEntries(decoded, meant)),
    others.map(() => false)
  )
  t.end()
})

await t.test('index page: block offsets may jump anywhere in 48 bits', (t) => {
  const offsets = [2 ** 48 - 101, 0, 2 ** 47, 5, 2 ** 32 - 1, 2 ** 32]
  const far: IndexPage = {
    stream: 0,
    streamOffset: 0,
    entries: offsets.map((at) => ({ ...block(at, 100), kind: 'repeat' }))
  }
  t.strictSame(decodeIndexPage(encodeIndexPage(far), 'x'), far)
  t.end()
})

await t.test('index page: a full one, and its size limit', (t) => {
  const entries = Array.from({ length: 4096 }, (_, i) => block(i * 500, 500))
  const full = { stream: 0, streamOffset: 0, entries }
  const bytes = encodeIndexPage(full)
  t.equal(bytes.length, 20 + 4096 * 51)
  t.strictSame(decodeIndexPage(bytes, 'x').entries.length, 4096)
  t.equal(
    caught(() => decodeIndexPage(encodeIndexPage({ ...full, entries: [...entries, block(0, 25)] }), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: it claims 4097 entries'
  )
  t.equal(
    caught(() => decodeIndexPage(encodeIndexPage({ ...full, entries: [] }), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: it claims 0 entries'
  )
  t.end()
})

await t.test('index page: impossible values are refused', (t) => {
  const of = (entry: Entry): string =>
    caught(() => decodeIndexPage(encodeIndexPage({ stream: 0, streamOffset: 0, entries: [entry] }), 'x'))
  const refused = (why: string): string => `CorruptError BAD_STRUCTURE: x is damaged: ${why}`
  t.equal(of({ kind: 'hole', rawSize: 0 }), refused('hole 1 has no size'))
  t.equal(of(block(0, 24)), refused('chunk 1 claims a block of 24 bytes'))
  const largest = 32 + 16 + 8 + 4194304
  t.equal(of(block(0, largest)), 'nothing was thrown')
  t.equal(of(block(0, largest + 1)), refused(`chunk 1 claims a block of ${largest + 1} bytes`))
  t.equal(of(block(0, 25, 0)), refused('chunk 1 claims 0 bytes'))
  t.equal(of(block(0, 25, 4194304)), 'nothing was thrown')
  t.equal(of(block(0, 25, 4194305)), refused('chunk 1 claims 4194305 bytes'))
  t.equal(of({ ...block(0, 25, 4194304), innerOffset: 1 }), refused('chunk 1 claims 4194304 bytes'))
  t.equal(of({ ...block(0, 25, 1), innerOffset: 0xffffffff }), refused('chunk 1 claims 1 bytes'))

  const both = (second: Partial<ChunkEntry>, between: readonly Entry[] = []): string => {
    const entries = [block(100, 500), ...between, { ...block(100, 500), innerOffset: 65536, ...second }]
    return caught(() => decodeIndexPage(encodeIndexPage({ stream: 0, streamOffset: 0, entries }), 'x'))
  }
  t.equal(both({}), 'nothing was thrown')
  t.equal(both({ innerOffset: 0 }), refused('chunk 2 starts at byte 0 of its block, not at 65536'))
  t.equal(both({ innerOffset: 65535 }), refused('chunk 2 starts at byte 65535 of its block, not at 65536'))
  const apart = refused('chunk 2 starts at byte 65536 of its block, not at 0')
  t.equal(both({ kind: 'repeat' }), apart)
  t.equal(both({ blockOffset: 600 }), apart)
  t.equal(both({}, [{ kind: 'hole', rawSize: 1 }]), apart)
  t.equal(both({ storedSize: 501 }), refused('chunk 2 gives its block another size'))
  const before = refused('chunk 2 names a block before the last one')
  t.equal(both({ innerOffset: 0, blockOffset: 99 }), before)
  t.equal(both({ innerOffset: 0, blockOffset: 599 }), before)
  t.equal(both({ innerOffset: 0 }, [{ kind: 'hole', rawSize: 1 }]), before)

  const forged = (changes: Record<number, number>): string => {
    const bytes = encodeIndexPage(page)
    for (const [offset, byte] of Object.entries(changes)) bytes[Number(offset)] = byte
    return caught(() => decodeIndexPage(bytes, 'x'))
  }
  const kindsAt = 20 + 3 * 32
  t.equal(forged({ [kindsAt]: 3 }), refused('entry 0 has kind 3'))
  t.equal(forged({ [kindsAt]: 2 }), refused('hole 2 has no size'), 'more holes than counted')
  t.equal(
    forged({ [kindsAt + 2]: 1 }),
    refused('its counts disagree with its kinds'),
    'more chunks than counted'
  )
  t.equal(forged({ 8: 5 }), refused('it claims 4 entries'), 'more chunks than entries')
  t.equal(forged({ 4: 0xff, 5: 0xff }), refused('it claims 65535 entries'))
  t.equal(forged({ 4: 0, 5: 16 }), refused('expected 4096 more bytes, found 66'))
  t.end()
})

await t.test('index page: entries that reach past 2^53 are refused', (t) => {
  const { MAX_SAFE_INTEGER } = Number
  const page = (rawSize: number): Uint8Array =>
    encodeIndexPage({ stream: 0, streamOffset: MAX_SAFE_INTEGER - 9, entries: [{ kind: 'hole', rawSize }] })
  t.strictSame(decodeIndexPage(page(9), 'x').entries, [{ kind: 'hole', rawSize: 9 }])
  t.equal(
    caught(() => decodeIndexPage(page(10), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: its entries reach past 2^53'
  )
  t.end()
})

await t.test('index page: cut or continued, it is refused', (t) => {
  const bytes = encodeIndexPage(page)
  for (let size = 0; size < bytes.length; size++) {
    const found = caught(() => decodeIndexPage(bytes.subarray(0, size), 'x'))
    if (!found.startsWith('CorruptError BAD_STRUCTURE: x is damaged: expected ')) t.fail(`${size}: ${found}`)
  }
  t.equal(
    caught(() => decodeIndexPage(Buffer.concat([bytes, Buffer.of(0)]), 'x')),
    'CorruptError BAD_STRUCTURE: x is damaged: expected no more bytes, found 1'
  )
  t.end()
})
