import t from 'tap'
import fc from 'fast-check'
import type { PipelineOptions } from '../../lib/build.js'
import { diffStreams } from '../../lib/reader/diff.js'
import { openSnapshot, type Snapshot } from '../../lib/reader/open-snapshot.js'
import type { Range } from '../../lib/reader/ranges.js'
import { buildOfStages } from '../helpers/build.js'
import { mixedBytes, randomBytes, zeroBytes } from '../helpers/data.js'
import { checkProperty } from '../helpers/property.js'
import { memorySource, type MemorySource } from '../helpers/snapshots.js'

const base = Buffer.concat([mixedBytes(120_000, 1, 2048), zeroBytes(300_000), mixedBytes(80_000, 2, 2048)])

interface Opened {
  readonly source: MemorySource
  readonly snapshot: Snapshot
}

async function open(streams: readonly Buffer[], options: PipelineOptions = {}): Promise<Opened> {
  const file = await buildOfStages(
    streams.map((bytes) => [bytes]),
    { chunkSize: 2048, ...options }
  )
  const source = memorySource(file)
  return { source, snapshot: await openSnapshot(source) }
}

async function diff(one: Opened, other: Opened, options = {}, stream = 'disk'): Promise<Range[]> {
  const found: Range[] = []
  for await (const range of diffStreams(one.snapshot, other.snapshot, stream, options)) found.push(range)
  return found
}

/** Byte by byte, as cmp does. */
function slowDiff(one: Buffer, other: Buffer): Range[] {
  const ranges: { start: number; end: number }[] = []
  for (let i = 0; i < Math.min(one.length, other.length); i++) {
    if (one[i] === other[i]) continue
    const last = ranges.at(-1)
    if (last?.end === i) last.end += 1
    else ranges.push({ start: i, end: i + 1 })
  }
  return ranges
}

/** The same bytes with some of them changed, zeroed, put in or taken out. */
const edit = fc.record({
  at: fc.nat(base.length),
  size: fc.oneof(fc.constantFrom(1, 2048, 4096), fc.nat(5000)),
  kind: fc.constantFrom('change', 'zero', 'insert', 'remove')
})
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never

function apply(bytes: Buffer, { at, size, kind }: Edit, seed: number): Buffer {
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at + (kind === 'insert' ? 0 : size))]
  const rest = bytes.length - before.length - after.length
  if (kind === 'remove') return Buffer.concat([before, after])
  return Buffer.concat([
    before,
    kind === 'zero' ? zeroBytes(rest) : randomBytes(kind === 'insert' ? size : rest, seed),
    after
  ])
}

const settings: Record<string, PipelineOptions> = {
  fixed: {},
  'other chunk size': { chunkSize: 4096, codec: 'zstd' },
  cdc: { cdc: true },
  raw: { codec: 'raw', chunkSize: 512 }
}

const originals = new Map<string, Opened>()
for (const [name, options] of Object.entries(settings)) originals.set(name, await open([base], options))

await t.test('finds what a comparison byte by byte finds, whatever the settings', async (t) => {
  const property = fc.asyncProperty(
    fc.constantFrom(...Object.keys(settings)),
    fc.constantFrom(...Object.keys(settings)),
    fc.array(edit, { maxLength: 4 }),
    async (oneName, otherName, edits) => {
      const changed = edits.reduce<Buffer>((bytes, one, i) => apply(bytes, one, i), base)
      const one = originals.get(oneName)
      if (one === undefined) throw new Error('no such settings')
      const other = await open([changed], settings[otherName])
      const expected = slowDiff(base, changed)
      const found = await diff(one, other)
      if (JSON.stringify(found) !== JSON.stringify(expected))
        throw new Error(`${found.length} ranges instead of ${expected.length}`)
      const back = await diff(other, one)
      if (JSON.stringify(back) !== JSON.stringify(expected))
        throw new Error('not the same the other way round')
      const coarse = await diff(one, other, { chunksOnly: true })
      const isCovered = expected.every(({ start, end }) =>
        coarse.some((range) => range.start <= start && end <= range.end)
      )
      if (!isCovered) throw new Error('the index misses something')
    }
  )
  await checkProperty(t, property, 40)
})

await t.test('what the index says to be the same is not read', async (t) => {
  const changed = Buffer.from(base)
  const at = base.findIndex((byte, i) => i > 50_000 && byte !== 0) // not in a hole
  const chunk = at - (at % 2048)
  changed[at] = base.readUInt8(at) ^ 1
  changed[200_000] = 7
  const one = await open([base])
  const other = await open([changed])
  for (const { source } of [one, other]) source.reads.length = 0
  t.strictSame(await diff(one, other, { chunksOnly: true }), [
    { start: chunk, end: chunk + 2048 },
    { start: 198_656, end: 200_704 }
  ])
  t.strictSame([one.source.reads.length, other.source.reads.length], [1, 1], 'a page of each')
  t.strictSame(await diff(one, other), [
    { start: at, end: at + 1 },
    { start: 200_000, end: 200_001 }
  ])
  t.strictSame(
    [one.source.reads.length, other.source.reads.length],
    [2, 3],
    'the block of a chunk; where one has a hole, of the other only'
  )
})

await t.test('the same snapshot is not even opened further', async (t) => {
  const one = await open([base])
  const other = await open([base])
  for (const { source } of [one, other]) source.reads.length = 0
  t.strictSame(await diff(one, other), [])
  t.strictSame([one.source.reads.length, other.source.reads.length], [0, 0])
})

await t.test('only as far as both reach; a stream that is missing has no bytes', async (t) => {
  const one = await open([base, base.subarray(0, 5000)])
  const other = await open([base.subarray(0, 100_001)])
  t.strictSame(await diff(one, other), [])
  t.strictSame(await diff(one, other, {}, 'memory'), [])
  const empty = await open([Buffer.alloc(0)])
  t.strictSame(await diff(one, empty), [])
})

await t.test('an abort stops it', async (t) => {
  const one = await open([base])
  const other = await open([randomBytes(base.length, 3)])
  await t.rejects(diff(one, other, { signal: AbortSignal.abort() }), { name: 'AbortError' })
})
