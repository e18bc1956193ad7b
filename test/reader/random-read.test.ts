import { randomBytes as randomKey } from 'node:crypto'
import { collectCodecGarbage } from '../../lib/workers/collect.js'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import fc from 'fast-check'
import { writeFields } from '../../lib/format/bytes.js'
import { blake3 } from '../../lib/format/digest.js'
import { encodeFrame, encodeRepeatFrame } from '../../lib/format/frame.js'
import { createIndexWriter } from '../../lib/format/index-writer.js'
import { makeHeader, profiles, resolveSettings, type ProfileName } from '../../lib/profiles.js'
import { openFileBytes } from '../../lib/reader/byte-source.js'
import { openSnapshot, type OpenOptions } from '../../lib/reader/open-snapshot.js'
import { buildSealed, makeRsaPair, slotsFor } from '../crypto/sealed.js'
import { buildOfStages } from '../helpers/build.js'
import { difference } from '../helpers/bytes.js'
import { createRandom, mixedBytes, randomBytes, zeroBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { checkProperty } from '../helpers/property.js'
import { memorySource } from '../helpers/snapshots.js'
import { settle } from '../helpers/streams.js'

const KiB = 1024
const disk = Buffer.concat([
  mixedBytes(700 * KiB, 1, 8192),
  zeroBytes(900 * KiB),
  randomBytes(200 * KiB, 2),
  mixedBytes(1000 * KiB, 3, 8192),
  randomBytes(777, 4)
])

const { publicKey, privateKey } = makeRsaPair()

/** A snapshot and how to open it. */
interface Made {
  readonly name: string
  readonly file: Buffer
  readonly options: OpenOptions
}

async function makeAll(): Promise<Made[]> {
  const made: Made[] = []
  for (const profile of Object.keys(profiles) as ProfileName[])
    for (const cdc of [false, true]) {
      const name = `${profile}${cdc ? ', cdc' : ''}`
      made.push({ name, file: await buildOfStages([[disk]], { profile, cdc }), options: {} })
      const dataKey = randomKey(32)
      const keySlots = slotsFor(dataKey, publicKey)
      const file = await buildSealed({ streams: [disk], dataKey, keySlots, profile, cdc })
      made.push({ name: `${name}, encrypted`, file, options: { identity: privateKey } })
    }
  return made
}

/** Reads many ranges at once, some of them one after another, and compares each. */
async function readMany(t: Test, file: Buffer, options: OpenOptions, path?: string): Promise<void> {
  const source = path === undefined ? memorySource(file) : await openFileBytes(path)
  const snapshot = await openSnapshot(source, options)
  const size = fc.oneof(fc.nat(100), fc.nat(70 * KiB), fc.nat(600 * KiB))
  const range = fc.tuple(fc.nat(disk.length), size, fc.integer({ min: 1, max: 4 }))
  const property = fc.asyncProperty(fc.array(range, { minLength: 1, maxLength: 12 }), async (ranges) => {
    const check = async (start: number, length: number): Promise<void> => {
      const into = Buffer.alloc(length + 8, 0xee)
      const found = await snapshot.read('disk', start, length, into)
      const expected = disk.subarray(start, start + length)
      if (difference(found, expected) !== 'equal') throw new Error(difference(found, expected))
      if (!into.subarray(found.length).every((byte) => byte === 0xee)) throw new Error('wrote too far')
    }
    await Promise.all(
      ranges.map(async ([start, length, times]) => {
        for (let at = start, i = 0; i < times && at <= disk.length; i++, at += length) await check(at, length)
      })
    )
  })
  await checkProperty(t, property, 5)
  await snapshot.close()
}

const all = await makeAll()

await t.test('every profile, with and without CDC and encryption, whatever the cache', async (t) => {
  for (const { name, file, options } of all)
    for (const cacheSize of [0, 300 * KiB, undefined])
      await t.test(`${name}, cache ${cacheSize ?? 'default'}`, (t) =>
        readMany(t, file, { ...options, ...(cacheSize === undefined ? {} : { cacheSize }) })
      )
})

await t.test('threads, which read a file themselves', async (t) => {
  for (const { name, file, options } of all.filter((_, i) => i === 5 || i === 12)) {
    const path = join(t.testdir(), 'a.st')
    await writeFile(path, file)
    for (const from of [path, undefined])
      await t.test(name, (t) => readMany(t, file, { ...options, concurrency: 2, cacheSize: KiB * KiB }, from))
  }
})

const generic = all[0]?.file ?? Buffer.of()

await t.test('readers of the same chunk share one load', async (t) => {
  const source = memorySource(generic)
  const snapshot = await openSnapshot(source)
  source.reads.length = 0
  const reads = Array.from({ length: 50 }, (_, i) => snapshot.read('disk', 1000 + i, 4096))
  for (const [i, found] of (await Promise.all(reads)).entries())
    if (!found.equals(disk.subarray(1000 + i, 5096 + i))) t.fail(`read ${i} is wrong`)
  t.equal(source.reads.length, 2, 'a page and a block, for fifty')
  await snapshot.read('disk', 0, 10)
  t.equal(source.reads.length, 2, 'and kept')
  const none = await openSnapshot(source, { cacheSize: 0 })
  source.reads.length = 0
  await none.read('disk', 0, 10)
  await none.read('disk', 0, 10)
  t.equal(source.reads.length, 3, 'without a cache it is read again')
})

await t.test('blocks that lie side by side are read at once', async (t) => {
  const source = memorySource(generic)
  const snapshot = await openSnapshot(source, { cacheSize: 0 })
  await snapshot.read('disk', 0, 1)
  source.reads.length = 0
  await snapshot.read('disk', 0, 600 * KiB)
  const stored = source.reads.reduce((sum, { size }) => sum + size, 0)
  t.ok(source.reads.length <= 3, `${source.reads.length} reads for ten chunks`)
  t.ok(stored < generic.length, `${stored} bytes`)
})

await t.test('a failed load fails those who wait for it, and nobody later', async (t) => {
  const path = join(t.testdir(), 'a.st')
  await writeFile(path, generic)
  for (const concurrency of [0, 1]) {
    const handle = await open(path, 'r+')
    const snapshot = await openSnapshot(path, { concurrency, cacheSize: 0 })
    const page = await snapshot.page(0)
    const [first] = page.entries
    if (first?.kind !== 'block') throw new Error('the stream starts with a block')
    const at = first.blockOffset + 100
    const byte = generic.readUInt8(at)
    await handle.write(Buffer.of(byte ^ 1), 0, 1, at)
    const into = Buffer.alloc(200 * KiB, 0xee)
    const [one, other] = await Promise.all([
      rejected(snapshot.read('disk', 0, 200 * KiB, into)),
      rejected(snapshot.read('disk', 50, 10))
    ])
    const expected = `CorruptError BAD_CHECKSUM: ${path} is damaged at byte ${first.blockOffset}: the checksum of the frame there is wrong`
    t.strictSame([one, other], [expected, expected])
    into.fill(0)
    await settle()
    t.ok(
      into.every((byte) => byte === 0),
      'nothing is written behind the back of the caller'
    )
    const distant = await snapshot.read('disk', 1_700_000, 5000)
    t.equal(difference(distant, disk.subarray(1_700_000, 1_705_000)), 'equal')
    await handle.write(Buffer.of(byte), 0, 1, at)
    t.equal(difference(await snapshot.read('disk', 0, 100), disk.subarray(0, 100)), 'equal')
    await handle.truncate(first.blockOffset + 50)
    t.equal(
      await rejected(snapshot.read('disk', 0, 1)),
      `SourceError SOURCE_CHANGED: ${path} became shorter while it was read`
    )
    await writeFile(path, generic)
    await handle.close()
    await snapshot.close()
  }
})

await t.test('close waits for reads in work, and later ones are refused', async (t) => {
  const snapshot = await openSnapshot(memorySource(generic), { concurrency: 1 })
  const reading = snapshot.read('disk', 0, disk.length)
  await snapshot.close()
  t.equal(difference(await reading, disk), 'equal')
  t.equal(await rejected(snapshot.read('disk', 0, 1)), 'UsageError USAGE: x is closed')
  t.equal(
    await rejected(openSnapshot(memorySource(generic), { cacheSize: -1 })),
    'UsageError USAGE: cacheSize -1 is not a number of bytes'
  )
  const other = await openSnapshot(memorySource(generic))
  t.equal(
    await rejected(other.read('disk', 0, 100, Buffer.alloc(99))),
    'UsageError USAGE: 100 bytes do not fit into the 99 given'
  )
})

await t.test('sequential reads are met before they come', async (t) => {
  const source = memorySource(generic)
  const snapshot = await openSnapshot(source)
  await snapshot.read('disk', 0, 4096)
  await snapshot.read('disk', 4096, 4096)
  await snapshot.read('disk', 8192, 4096)
  await settle()
  const behind = (await snapshot.page(0)).entries[4]
  if (behind?.kind !== 'block') throw new Error('the fifth chunk is a block')
  source.reads.length = 0
  await snapshot.read('disk', 12288, 200 * KiB)
  t.equal(source.reads.filter(({ offset }) => offset <= behind.blockOffset).length, 0, 'all of it is there')
  await settle()
  const ahead = source.reads.reduce((sum, { size }) => sum + size, 0)
  t.ok(ahead < 600 * KiB, `${ahead} bytes ahead`)
})

await t.test('64 readers at once hold no more than the cache and a bit', async (t) => {
  collectCodecGarbage() // else V8 lets a few megabytes of the codec's buffers lie
  const bytes = mixedBytes(12 * KiB * KiB, 9, 65_536)
  const file = await buildOfStages([[bytes]], { profile: 'generic' })
  const snapshot = await openSnapshot(memorySource(file), { cacheSize: 2 * KiB * KiB })
  const random = createRandom(3)
  const before = process.memoryUsage().arrayBuffers
  const reader = async (): Promise<void> => {
    const into = Buffer.alloc(65_536)
    for (let i = 0; i < 20; i++) {
      const start = random.below(bytes.length - 65_536)
      const found = await snapshot.read('disk', start, 65_536, into)
      if (!found.equals(bytes.subarray(start, start + 65_536))) t.fail(`wrong bytes at ${start}`)
    }
  }
  await Promise.all(Array.from({ length: 64 }, reader))
  const grown = process.memoryUsage().arrayBuffers - before
  t.ok(grown < 24 * KiB * KiB, `${Math.round(grown / KiB / KiB)} MiB of buffers`)
  await snapshot.close()
})

await t.test('opening a tebibyte reads kilobytes', async (t) => {
  const header = makeHeader(resolveSettings({ codec: 'raw', chunkSize: 512 }), ['disk'])
  const index = createIndexWriter({ header })
  const chunk = randomBytes(512, 5)
  const digest = blake3(chunk)
  const hole = 2 ** 30 - 512
  const pieces: Uint8Array[] = [index.header]
  const block = encodeFrame(Buffer.concat([writeFields(8).u64(0).done(), chunk]), {
    type: 'block',
    rawSize: 512
  })
  const handle = index.place(block.length)
  index.addBlock(0, { rawSize: 512, digest, handle })
  pieces.push(block)
  for (let gib = 0; gib < 1024; gib++) {
    if (gib > 0) {
      const repeat = encodeRepeatFrame(0, 512, [handle.offset])
      index.place(repeat.length)
      index.addRepeat(0, { rawSize: 512, digest, handle })
      pieces.push(repeat)
    }
    const zeros = encodeFrame(writeFields(8).u64(hole).done(), { type: 'hole' })
    index.place(zeros.length)
    index.addHole(0, hole)
    pieces.push(zeros)
    if (gib % 2 === 1) pieces.push((await index.endPage()) ?? Buffer.of())
  }
  const { frame, footer } = await index.endRoot()
  const source = memorySource(Buffer.concat([...pieces, frame, footer]))
  const read = (): number => source.reads.reduce((sum, { size }) => sum + size, 0)
  const snapshot = await openSnapshot(source)
  t.equal(snapshot.streams[0]?.size, 2 ** 40)
  t.equal(snapshot.root.pages.length, 512)
  t.ok(read() < 40 * KiB, `${read()} bytes to open`)
  source.reads.length = 0
  const at = 700 * 2 ** 30
  t.equal(
    difference(
      await snapshot.read('disk', at - 100, 1000),
      Buffer.concat([zeroBytes(100), chunk, zeroBytes(388)])
    ),
    'equal'
  )
  t.ok(read() < 2 * KiB, `${read()} bytes to read at 700 GiB`)
  source.reads.length = 0
  for await (const extent of snapshot.extents('disk', { start: at, end: at + 513 })) {
    t.strictSame(extent, extent.kind === 'data' ? { kind: 'data', offset: at, size: 512 } : extent)
  }
  t.equal(source.reads.length, 0, 'the page is kept')
})
