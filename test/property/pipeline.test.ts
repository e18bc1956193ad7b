import t from 'tap'
import fc from 'fast-check'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from '../../lib/api.js'
import type { PipelineOptions } from '../../lib/build.js'
import { profileNames } from '../../lib/profiles.js'
import { openSnapshot } from '../../lib/reader/open-snapshot.js'
import { verifySnapshot } from '../../lib/reader/verify.js'
import { buildInMemory, buildOfStages } from '../helpers/build.js'
import { difference, hex } from '../helpers/bytes.js'
import { cutEvery, cutRandomly, mixedBytes, randomBytes, textBytes, zeroBytes } from '../helpers/data.js'
import { checkProperty } from '../helpers/property.js'
import { framesOf, memorySource } from '../helpers/snapshots.js'

const KiB = 1024

await t.test('same bytes, whatever the threads, the cuts and the target', async (t) => {
  const folder = t.testdir({})
  const path = join(folder, 'source')
  const bytes = Buffer.concat([mixedBytes(2_500_000, 1, 16 * KiB), zeroBytes(500_001)])
  await writeFile(path, bytes)
  for (const profile of profileNames)
    for (const cdc of [false, true]) {
      const options = { profile, cdc }
      const name = `${profile}${cdc ? '-cdc' : ''}`
      const file = await buildOfStages([[bytes]], options)
      const other = await buildInMemory([cutEvery(bytes, 64 * KiB)], { ...options, concurrency: 2 })
      t.equal(difference(other.file, file), 'equal', `${name}: 64 KiB at a time, two threads`)
      const target = join(folder, `${name}.st`)
      const totals = await build({ source: path, target, ...options, concurrency: 1 })
      t.equal(difference(await readFile(target), file), 'equal', `${name}: from file to file, one thread`)
      t.strictSame(totals, other.totals)
      const snapshot = await openSnapshot(memorySource(file))
      t.equal(difference(await snapshot.read('disk', 0, bytes.length), bytes), 'equal')
    }
  const options = { profile: 'eda', cdc: true }
  const many = await buildInMemory([cutRandomly(bytes, 2, 300_000)], { ...options, concurrency: 8 })
  t.equal(
    difference(many.file, await buildOfStages([[bytes]], options)),
    'equal',
    'random cuts, eight threads'
  )
})

await t.test('same bytes when they come one by one', async (t) => {
  const bytes = mixedBytes(9000, 3, 1000)
  for (const options of [{ chunkSize: 1000 }, { cdc: true, chunkSize: 2048 }]) {
    const file = await buildOfStages([[bytes], [bytes.subarray(5000)]], options)
    const other = await buildInMemory([cutEvery(bytes, 1), cutEvery(bytes.subarray(5000), 1)], options)
    t.equal(difference(other.file, file), 'equal')
  }
})

type Segment = readonly [kind: 'random' | 'text' | 'zeros' | 'again', size: number, seed: number]

/** Bytes of these segments; `again` copies from what came before. */
function bytesOf(segments: readonly Segment[]): Buffer {
  let bytes = Buffer.alloc(0)
  for (const [kind, size, seed] of segments) {
    const from = bytes.length === 0 ? 0 : seed % bytes.length
    const piece = {
      random: () => randomBytes(size, seed),
      text: () => textBytes(size, seed),
      zeros: () => zeroBytes(size),
      again: () => bytes.subarray(from, from + size)
    }[kind]()
    bytes = Buffer.concat([bytes, piece])
  }
  return bytes
}

await t.test('any bytes with any settings come back, and the books are right', async (t) => {
  const segment = fc.tuple(
    fc.constantFrom('random', 'text', 'zeros', 'again'),
    fc.oneof(fc.nat(3000), fc.constantFrom(512, 1024, 4096, 40_000)),
    fc.nat(1_000_000)
  )
  const settings = fc.record({
    cdc: fc.boolean(),
    codec: fc.constantFrom('raw', 'lz4', 'zstd'),
    chunkSize: fc.oneof(fc.constantFrom(512, 1024, 4096, 65_536), fc.integer({ min: 512, max: 20_000 })),
    dedupMemory: fc.constantFrom(48, 480, 1_000_000)
  })
  /** Builds and reads back; throws at anything that is not as it must be. */
  const check = async (
    streams: readonly Segment[][],
    options: PipelineOptions,
    seed: number
  ): Promise<Buffer> => {
    const sources = streams.map(bytesOf)
    const file = await buildOfStages(
      sources.map((bytes) => cutRandomly(bytes, seed, 5000)),
      options
    )
    const snapshot = await openSnapshot(memorySource(file))
    for (const [i, { name, size, ...found }] of snapshot.streams.entries()) {
      const bytes = sources[i] ?? Buffer.of()
      const diff = difference(await snapshot.read(name, 0, bytes.length), bytes)
      if (diff !== 'equal' || size !== bytes.length) throw new Error(`${name}: ${size} bytes, ${diff}`)
      if (found.blockRawSize + found.repeatSize + found.holeSize !== size)
        throw new Error('sizes do not add up')
      if (found.blockStoredSize > found.blockRawSize + 24 * found.blockCount) throw new Error('data grew')
    }
    return file
  }
  const streams = fc.array(fc.array(segment, { maxLength: 12 }), { minLength: 1, maxLength: 3 })
  await checkProperty(
    t,
    fc.asyncProperty(streams, settings, fc.nat(1000), async (...args) => {
      await verifySnapshot(memorySource(await check(...args)), { quick: true })
    }),
    50
  )
  await checkProperty(
    t,
    fc.asyncProperty(streams, settings, fc.nat(1000), async (sources, options, seed) => {
      const file = await check(sources, options, seed)
      const { footer } = await verifySnapshot(memorySource(file), { concurrency: 1 })
      const built = await buildInMemory(
        sources.map((segments) => [bytesOf(segments)]),
        options
      )
      if (difference(built.file, file) !== 'equal') throw new Error('buildStreams() gives other bytes')
      if (built.totals.fileSize !== file.length) throw new Error('a wrong file size')
      if (hex(footer.snapshotDigest) !== hex(built.totals.snapshotDigest ?? Buffer.of()))
        throw new Error('another digest')
    }),
    6
  )
})

await t.test('repeats are found over all streams', async (t) => {
  const [a, b] = [randomBytes(300_000, 1), randomBytes(100_000, 2)]
  for (const options of [{ chunkSize: 10_000 }, { cdc: true, chunkSize: 10_000 }] as PipelineOptions[]) {
    const { totals } = await buildInMemory([[a, b], [b, a], [a]], options)
    const [disk, memory, third] = totals.streams
    t.equal(disk?.repeatCount, 0)
    t.ok((memory?.repeatSize ?? 0) > 340_000, `memory repeats ${memory?.repeatSize ?? 0} of 400,000 bytes`)
    t.ok((third?.repeatSize ?? 0) > 280_000, `third repeats ${third?.repeatSize ?? 0} of 300,000 bytes`)
  }
})

await t.test('a repeat costs at most 64 bytes, alone or in a run', async (t) => {
  const chunkSize = 512
  const count = 6000
  const unique = cutEvery(randomBytes(count * chunkSize, 4), chunkSize)
  const chunk = (i: number): Uint8Array => unique[i] ?? Buffer.of()
  const early = (i: number): Uint8Array => chunk((i * 7919) % (count / 2))
  const sizeOf = async (chunks: Iterable<Uint8Array>): Promise<number> =>
    (await buildOfStages([chunks], { chunkSize, codec: 'raw' })).length
  const without = await sizeOf(unique)
  const patterns: Record<string, Uint8Array[]> = {
    'alternating with unique chunks, from far away': unique.flatMap((one, i) =>
      i < count / 2 ? [one] : [one, early(i)]
    ),
    'alternating with unique chunks, of the one before': unique.flatMap((one) => [one, one]),
    'a run in the same order': [...unique, ...unique],
    'a run from anywhere': [...unique, ...unique.map((_, i) => early(i))],
    'a run of one chunk': [...unique, ...unique.map(() => chunk(5))]
  }
  for (const [name, chunks] of Object.entries(patterns)) {
    const cost = ((await sizeOf(chunks)) - without) / (chunks.length - count)
    t.ok(cost <= 64, `${name}: ${cost.toFixed(1)} bytes each`)
  }
})

await t.test('a hole run of any length is one frame and one entry', async (t) => {
  const [a, b] = [randomBytes(1000, 5), randomBytes(1000, 6)]
  const sizes: number[] = []
  for (const count of [1, 100, 5000]) {
    const file = await buildOfStages([[a, zeroBytes(1000 * count), b]], { chunkSize: 1000 })
    const kinds = framesOf(file).map(({ type }) => type)
    t.strictSame(kinds, ['block', 'hole', 'block', 'page', 'root'])
    const snapshot = await openSnapshot(memorySource(file))
    t.strictSame(
      (await snapshot.page(0)).entries.map(({ kind }) => kind),
      ['block', 'hole', 'block']
    )
    sizes.push(file.length)
  }
  t.ok(Math.max(...sizes) - Math.min(...sizes) <= 16, `files of ${sizes.join(', ')} bytes`)
})
