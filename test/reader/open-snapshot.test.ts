import t from 'tap'
import fc from 'fast-check'
import { buffer } from 'node:stream/consumers'
import { openSnapshot, type Extent, type Snapshot } from '../../lib/reader/open-snapshot.js'
import { buildOfStages } from '../helpers/build.js'
import { difference, hex } from '../helpers/bytes.js'
import { createRandom, mixedBytes, randomBytes, zeroBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { checkProperty } from '../helpers/property.js'
import { memorySource, type MemorySource } from '../helpers/snapshots.js'
import { settle } from '../helpers/streams.js'

const disk = Buffer.concat([
  zeroBytes(50_000),
  mixedBytes(400_000, 1, 1024),
  zeroBytes(3_000_000),
  randomBytes(777, 2)
])
const memory = Buffer.concat([randomBytes(5120, 3), disk.subarray(51_200, 251_200)])
const sources: Record<string, Buffer> = { disk, memory }

const files = {
  fixed: await buildOfStages([[disk], [memory]], { chunkSize: 512 }),
  cdc: await buildOfStages([[disk], [memory]], { profile: 'eda', cdc: true, chunkSize: 2048 })
}
const open = (file = files.fixed): Promise<Snapshot> => openSnapshot(memorySource(file))

/** Any range of a stream, its ends and the borders of chunks more often than chance would have it. */
const rangeOf = (size: number): fc.Arbitrary<[number, number]> => {
  const place = fc.oneof(fc.nat(size), fc.constantFrom(0, 1, 511, 512, 513, 50_000, size - 1, size))
  return fc.tuple(place, place).map(([a, b]) => [Math.min(a, b), Math.max(a, b)])
}

for (const [name, file] of Object.entries(files))
  await t.test(`${name}: any range of any stream is what the source has there`, async (t) => {
    const snapshot = await open(file)
    const range = fc
      .constantFrom('disk', 'memory')
      .chain((stream) => fc.tuple(fc.constant(stream), rangeOf(sources[stream]?.length ?? 0)))
    const property = fc.asyncProperty(range, async ([stream, [start, end]]) => {
      const expected = sources[stream]?.subarray(start, end) ?? Buffer.of()
      const read = await snapshot.read(stream, start, end - start)
      if (difference(read, expected) !== 'equal') throw new Error(`read: ${difference(read, expected)}`)
      const streamed = await buffer(snapshot.createReadStream(stream, { start, end }))
      if (difference(streamed, expected) !== 'equal')
        throw new Error(`stream: ${difference(streamed, expected)}`)
    })
    await checkProperty(t, property, 60)
  })

await t.test('threads read the same', async (t) => {
  const snapshot = await openSnapshot(memorySource(files.cdc), { concurrency: 2 })
  for (const [stream, bytes] of Object.entries(sources))
    t.equal(difference(await buffer(snapshot.createReadStream(stream)), bytes), 'equal', stream)
  await snapshot.close()
})

await t.test('many reads at once', async (t) => {
  const snapshot = await open()
  const random = createRandom(4)
  const reads = Array.from({ length: 100 }, async () => {
    const start = random.below(disk.length)
    const found = await snapshot.read('disk', start, 1 + random.below(5000))
    return difference(found, disk.subarray(start, start + found.length))
  })
  t.strictSame([...new Set(await Promise.all(reads))], ['equal'])
})

await t.test('a range that ends behind the stream is shorter; one that is none is an error', async (t) => {
  const snapshot = await open()
  const { length } = disk
  t.equal((await snapshot.read('disk', length - 5, 100)).length, 5)
  t.equal((await snapshot.read('disk', length - 5, Infinity)).length, 5)
  t.equal((await snapshot.read('disk', length, 1)).length, 0)
  t.equal((await snapshot.read('disk', 7, 0)).length, 0)
  const stream = `the end of stream disk, which has ${length} bytes`
  for (const [start, size, why] of [
    [length + 1, 1, `offset ${length + 1} lies after ${stream}`],
    [2 ** 52, 5, `offset ${2 ** 52} lies after ${stream}`],
    [-1, 5, '-1 is not an offset in stream disk'],
    [1.5, 1, '1.5 is not an offset in stream disk'],
    [NaN, 1, 'NaN is not an offset in stream disk'],
    [5, -3, '-3 is not a number of bytes'],
    [0, NaN, 'NaN is not a number of bytes'],
    [0, 1.5, '1.5 is not a number of bytes']
  ] as const)
    t.equal(await rejected(snapshot.read('disk', start, size)), `UsageError USAGE: ${why}`)
  t.throws(() => snapshot.isHole('disk', 5, -3), { code: 'USAGE', message: '-3 is not a number of bytes' })
  for (const [range, message] of [
    [{ start: 3, end: 2 }, "a range of stream disk can't end at 2, before its start at 3"],
    [{ end: length + 1 }, `a range can't end at ${length + 1}, after ${stream}`],
    [{ start: 3_000_000_000 }, `offset 3000000000 lies after ${stream}`],
    [{ end: NaN }, 'NaN is not an end of a range of stream disk']
  ] as const)
    t.throws(() => snapshot.createReadStream('disk', range), { code: 'USAGE', message })
  t.throws(() => snapshot.extents('disk', { start: -1 }), { code: 'USAGE' })
  t.equal(
    await rejected(snapshot.read('tape', 0, 1)),
    'UsageError USAGE: x has no stream "tape"; it has disk, memory'
  )
})

/** Extents as the bytes and chunks say, chunk by chunk. */
function slowExtents(bytes: Buffer, chunkSize: number): Extent[] {
  const extents: { kind: 'data' | 'hole'; offset: number; size: number }[] = []
  for (let offset = 0; offset < bytes.length; offset += chunkSize) {
    const chunk = bytes.subarray(offset, offset + chunkSize)
    const kind = chunk.every((byte) => byte === 0) ? 'hole' : 'data'
    const last = extents.at(-1)
    if (last?.kind === kind) last.size += chunk.length
    else extents.push({ kind, offset, size: chunk.length })
  }
  return extents
}

await t.test('extents: data and holes, merged over entries and pages', async (t) => {
  const snapshot = await open()
  t.ok(snapshot.root.pages.length > 1, `${snapshot.root.pages.length} pages`)
  const all: Extent[] = []
  for await (const extent of snapshot.extents('disk')) all.push(extent)
  t.strictSame(all, slowExtents(disk, 512))
  const property = fc.asyncProperty(rangeOf(disk.length), async ([start, end]) => {
    const found: Extent[] = []
    for await (const extent of snapshot.extents('disk', { start, end })) found.push(extent)
    const expected = all
      .map(({ kind, offset, size }) => {
        const from = Math.max(offset, start)
        return { kind, offset: from, size: Math.min(offset + size, end) - from }
      })
      .filter(({ size }) => size > 0)
    if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error(JSON.stringify(found))
  })
  await checkProperty(t, property, 60)
})

await t.test('runs: holes as lengths, data in pieces, without a gap', async (t) => {
  const snapshot = await open(files.cdc)
  let offset = 0
  let holeMax = 0
  for await (const run of snapshot.runs('disk')) {
    if (run.offset !== offset) t.fail(`a run starts at ${run.offset}, not ${offset}`)
    const size = run.kind === 'hole' ? run.size : run.bytes.length
    const there = disk.subarray(offset, offset + size)
    if (run.kind === 'hole') holeMax = Math.max(holeMax, size)
    else if (difference(run.bytes, there) !== 'equal') t.fail(`wrong bytes at ${offset}`)
    offset += size
  }
  t.equal(offset, disk.length)
  t.ok(holeMax > 2_900_000, 'three megabytes of zeros are one hole')
})

await t.test('a consumer may write into what a read stream gives', async (t) => {
  const snapshot = await open()
  for (let round = 0; round < 2; round++)
    for await (const piece of snapshot.createReadStream('disk', { start: 500_000, end: 3_000_000 })) {
      const bytes = piece as Buffer
      if (!bytes.every((byte) => byte === 0)) t.fail('a hole is not all zeros')
      bytes.fill(0xff)
    }
  t.end()
})

await t.test('repeats over streams are read from where they were stored', async (t) => {
  const snapshot = await open()
  t.ok((snapshot.streams[1]?.repeatCount ?? 0) > 100)
  t.ok((snapshot.streams[1]?.blockRawSize ?? Infinity) < 60_000, 'memory holds little of its own')
  t.equal(difference(await snapshot.read('memory', 0, memory.length), memory), 'equal')
})

const sumOf = (source: MemorySource): number => source.reads.reduce((sum, { size }) => sum + size, 0)

await t.test('opening and one small read touch little of the file', async (t) => {
  const source = memorySource(files.fixed)
  const snapshot = await openSnapshot(source)
  t.ok(sumOf(source) < 2000, `opening read ${sumOf(source)} of ${source.size} bytes`)
  source.reads.length = 0
  await snapshot.read('disk', disk.length - 10, 10)
  t.equal(source.reads.length, 2, 'a page and a block')
  source.reads.length = 0
  await snapshot.read('disk', disk.length - 10, 10)
  t.equal(source.reads.length, 0, 'page and chunk are kept')
  const counting = memorySource(files.fixed)
  const other = await openSnapshot(counting)
  counting.reads.length = 0
  for await (const _ of other.extents('disk', { start: disk.length - 10 })) continue
  t.equal(counting.reads.length, 1, 'extents at the end need the last page only')
})

await t.test('a read stream that is destroyed stops reading', async (t) => {
  const source = memorySource(files.fixed)
  const snapshot = await openSnapshot(source)
  const stream = snapshot.createReadStream('memory')
  stream.once('data', () => stream.destroy())
  await rejected(buffer(stream))
  await settle()
  const count = source.reads.length
  await settle()
  t.equal(source.reads.length, count)
  t.equal(
    difference(await snapshot.read('memory', 0, 100), memory.subarray(0, 100)),
    'equal',
    'and may be read again'
  )
})

await t.test('close closes the source; so does an open that fails', async (t) => {
  const source = memorySource(files.fixed)
  const snapshot = await openSnapshot(source)
  t.equal(source.isClosed, false)
  await snapshot.close()
  t.equal(source.isClosed, true)
  const cut = memorySource(files.fixed.subarray(0, -1))
  t.match(await rejected(openSnapshot(cut)), /^CorruptError INCOMPLETE: x is incomplete/)
  t.equal(cut.isClosed, true)
  const threads = memorySource(files.fixed)
  t.match(await rejected(openSnapshot(threads, { concurrency: 65 })), /^UsageError USAGE: /)
  t.equal(threads.isClosed, true)
})

await t.test('a damaged block is an error where it is read, and nowhere else', async (t) => {
  const whole = await open()
  const [page] = [await whole.page(0)]
  const [block] = page.entries.filter((entry) => entry.kind === 'block')
  if (block?.kind !== 'block') throw new Error('the first page has blocks')
  const file = Buffer.from(files.fixed)
  const at = block.blockOffset + 30
  file[at] = (file[at] ?? 0) ^ 1
  const snapshot = await open(file)
  t.equal(
    await rejected(snapshot.read('disk', 0, disk.length)),
    `CorruptError BAD_CHECKSUM: x is damaged at byte ${block.blockOffset}: the checksum of the frame there is wrong`
  )
  t.equal(
    await rejected(buffer(snapshot.createReadStream('disk'))),
    `CorruptError BAD_CHECKSUM: x is damaged at byte ${block.blockOffset}: the checksum of the frame there is wrong`
  )
  t.equal(difference(await snapshot.read('disk', disk.length - 700, 700), disk.subarray(-700)), 'equal')
})

await t.test('the digest stands for all of it', async (t) => {
  const other = await buildOfStages([[disk], [memory.subarray(1)]], { chunkSize: 512 })
  const digests = await Promise.all(
    [files.fixed, files.cdc, other].map(async (file) => hex((await open(file)).digest))
  )
  t.equal(new Set(digests).size, 3)
  const again = await buildOfStages([[disk], [memory]], { chunkSize: 512 })
  t.equal(hex((await open(again)).digest), digests[0])
})
