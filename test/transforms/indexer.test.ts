import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { Readable } from 'node:stream'
import { decodeHolePayload, decodeRepeatPayload, encodeFrame } from '../../lib/format/frame.js'
import type { SnapshotTotals } from '../../lib/format/index-writer.js'
import { makeHeader, resolveSettings } from '../../lib/profiles.js'
import { openSnapshot } from '../../lib/reader/open-snapshot.js'
import { verifySnapshot } from '../../lib/reader/verify.js'
import {
  encryptor,
  indexer,
  type BlockBatch,
  type IndexerOptions,
  type SnapshotRecord,
  type StoredChunk
} from '../../transforms/index.js'
import { hex } from '../helpers/bytes.js'
import { createRandom, randomBytes, zeroBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { fileOf, framesOf, memorySource } from '../helpers/snapshots.js'
import { runStage } from '../helpers/streams.js'
import { makeSealing } from '../../lib/crypto/sealing.js'
import { blake3 } from '../../lib/format/digest.js'
import { encodeHeader } from '../../lib/format/header.js'

const header = makeHeader(resolveSettings({ codec: 'raw', chunkSize: 512 }), ['disk', 'memory'])

/** A chunk of a test: a hole of some size, a unique chunk, or a repeat of the unique chunk of that number. */
type Item = { hole: number } | { unique: number; size?: number } | { repeat: number; size?: number }

const chunkBytes = (number: number, size = 20): Buffer => randomBytes(size, number)

/** One batch. Blocks know their place in the stream, so it has to be told. */
function batchOf(items: readonly Item[], stream = 0, streamOffset = 0): BlockBatch {
  const frames: Uint8Array[] = []
  let start = 0
  let offset = streamOffset
  const chunks = items.map((item): StoredChunk => {
    if ('hole' in item) {
      offset += item.hole
      return { kind: 'hole', rawSize: item.hole }
    }
    const bytes = chunkBytes('unique' in item ? item.unique : item.repeat, item.size)
    const place = Buffer.alloc(8)
    place.writeBigUInt64LE(BigInt(offset))
    offset += bytes.length
    const same = { rawSize: bytes.length, digest: blake3(bytes) }
    if ('repeat' in item) return { kind: 'repeat', ordinal: item.repeat, ...same }
    const frame = encodeFrame(Buffer.concat([place, bytes]), { type: 'block', stream, rawSize: bytes.length })
    frames.push(frame)
    start += frame.length
    return { kind: 'block', start: start - frame.length, storedSize: frame.length, ...same }
  })
  return { kind: 'blocks', stream, streamOffset, frames: Buffer.concat(frames), chunks }
}

const sizeOf = (item: Item): number => ('hole' in item ? item.hole : (item.size ?? 20))

/** The items of one stream in batches of `count`. */
function inBatches(items: readonly Item[], count: number, stream = 0): BlockBatch[] {
  const batches: BlockBatch[] = []
  let offset = 0
  for (let i = 0; i < items.length; i += count) {
    const some = items.slice(i, i + count)
    batches.push(batchOf(some, stream, offset))
    offset += some.reduce((sum, item) => sum + sizeOf(item), 0)
  }
  return batches
}

const run = async (batches: readonly BlockBatch[], options: Partial<IndexerOptions> = {}): Promise<Buffer> =>
  fileOf(await runStage<SnapshotRecord>(batches, indexer({ header, ...options })))

/** The kinds of a file's frames, such as `block block hole page root`. */
const kinds = (file: Buffer): string =>
  framesOf(file)
    .map(({ type }) => type)
    .join(' ')

const unique = (from: number, count: number): Item[] =>
  Array.from({ length: count }, (_, i) => ({ unique: from + i }))

await t.test('header first, footer last, every record where it says, and it reads back', async (t) => {
  const items: Item[] = [{ unique: 0 }, { hole: 100 }, { unique: 1 }, { repeat: 0 }, { repeat: 1 }]
  const records = await runStage<SnapshotRecord>(
    [batchOf(items), batchOf([{ repeat: 1 }], 1)],
    indexer({ header })
  )
  t.strictSame(
    records.map(({ kind }) => kind),
    ['header', 'frames', 'frames', 'frames', 'footer']
  )
  const file = fileOf(records)
  t.equal(kinds(file), 'block hole block repeat page repeat page root')
  const { chunkCount } = await verifySnapshot(memorySource(file))
  t.equal(chunkCount, 2)
  const snapshot = await openSnapshot(memorySource(file))
  const [a, b] = [chunkBytes(0), chunkBytes(1)]
  t.equal(hex(await snapshot.read('disk', 0, 999)), hex(Buffer.concat([a, zeroBytes(100), b, a, b])))
  t.equal(hex(await snapshot.read('memory', 0, 999)), hex(b))
})

await t.test('block frames of a batch leave in one piece, with their release', async (t) => {
  let released = 0
  const release = (): void => {
    released += 1
  }
  const batch = { ...batchOf(unique(0, 10)), release }
  const [, record] = await runStage<SnapshotRecord>([batch], indexer({ header }))
  if (record?.kind !== 'frames') throw new Error('frames follow the header')
  t.equal(record.frames.length, 1)
  t.equal(record.frames[0]?.buffer, batch.frames.buffer, 'not copied')
  t.equal(released, 0, 'not before they are written')
  record.release?.()
  t.equal(released, 1)
  const holes = { ...batchOf([{ hole: 5 }]), release }
  await runStage<SnapshotRecord>([holes], indexer({ header }))
  t.equal(released, 2, 'a batch that gives nothing is released at once')
})

await t.test('holes of any number merge into one, also across batches', async (t) => {
  const holes = Array.from({ length: 5000 }, (): Item => ({ hole: 512 }))
  for (const count of [1, 7, 5000]) {
    const file = await run([...inBatches(holes, count)])
    t.equal(kinds(file), 'hole page root')
    t.equal(decodeHolePayload(framesOf(file)[0]?.payload ?? zeroBytes(0), 'x'), 5000 * 512)
  }
  const huge = await run(
    inBatches([{ hole: 2 ** 50 }, { hole: 2 ** 50 }, { unique: 0 }, { hole: 1 }, { hole: 2 }], 2)
  )
  t.equal(kinds(huge), 'hole block hole page root')
  const snapshot = await openSnapshot(memorySource(huge))
  t.strictSame(
    (await snapshot.page(0)).entries.map(({ rawSize }) => rawSize),
    [2 ** 51, 20, 3]
  )
  t.match(snapshot.streams[0], { size: 2 ** 51 + 23, holeCount: 2, holeSize: 2 ** 51 + 3 })
})

await t.test('holes of two streams do not merge', async (t) => {
  const file = await run([batchOf([{ hole: 5 }]), batchOf([{ hole: 7 }], 1)])
  t.equal(kinds(file), 'hole page hole page root')
  t.strictSame(
    framesOf(file)
      .slice(0, 3)
      .map(({ stream }) => stream),
    [0, 0, 1]
  )
})

await t.test('adjacent repeats share a frame, 1024 at most, also across batches', async (t) => {
  const items: Item[] = [
    ...unique(0, 3),
    ...Array.from({ length: 2500 }, (_, i): Item => ({ repeat: i % 3 }))
  ]
  for (const count of [1, 100, 9999]) {
    const frames = framesOf(await run(inBatches(items, count)))
    const repeats = frames.filter(({ type }) => type === 'repeat')
    t.strictSame(
      repeats.map(({ payloadSize, rawSize }) => [payloadSize / 6, rawSize / 20]),
      [
        [1024, 1024],
        [1024, 1024],
        [452, 452]
      ]
    )
    const offsets = frames.slice(0, 3).map(({ offset }) => offset)
    t.strictSame(decodeRepeatPayload(repeats[0]?.payload ?? zeroBytes(1), 'x').slice(0, 4), [
      ...offsets,
      offsets[0]
    ])
  }
})

await t.test('a repeat frame stands for less than 2^32 bytes', async (t) => {
  const size = 4 * 1024 * 1024
  // Only sizes matter to the indexer; four gigabytes of repeats are one chunk named 1,500 times.
  const [block] = batchOf([{ unique: 0 }]).chunks
  if (block?.kind !== 'block') throw new Error('a unique chunk is a block')
  const large = { ...block, rawSize: size }
  const repeat: StoredChunk = { kind: 'repeat', ordinal: 0, rawSize: size, digest: block.digest }
  const batch = {
    ...batchOf([{ unique: 0 }]),
    chunks: [large, ...Array.from({ length: 1500 }, () => repeat)]
  }
  const repeats = framesOf(await run([batch])).filter(({ type }) => type === 'repeat')
  t.strictSame(
    repeats.map(({ rawSize }) => rawSize / size),
    [1023, 477]
  )
})

await t.test('pages end at 4096 entries', async (t) => {
  const pagesOf = async (items: readonly Item[], count = 1000): Promise<number[]> => {
    const file = await run(inBatches(items, count))
    await verifySnapshot(memorySource(file), { quick: true })
    const snapshot = await openSnapshot(memorySource(file))
    return [...snapshot.root.pages].map(({ entryCount }) => entryCount)
  }
  t.strictSame(await pagesOf(unique(0, 4096)), [4096])
  t.strictSame(await pagesOf(unique(0, 4097)), [4096, 1])
  const half = unique(0, 4095)
  t.strictSame(await pagesOf([...half, { hole: 9 }, { hole: 9 }]), [4096], 'a hole as the last entry')
  t.strictSame(await pagesOf([...half, { hole: 9 }, { unique: 4095 }]), [4096, 1])
  t.strictSame(await pagesOf([...half, { unique: 4095 }, { hole: 9 }, { hole: 9 }], 4096), [4096, 1])
  t.strictSame(await pagesOf([...half, { repeat: 0 }, { repeat: 1 }, { unique: 4095 }]), [4096, 2])
  t.strictSame(await pagesOf([...half, { repeat: 0 }, { hole: 9 }, { repeat: 1 }]), [4096, 2])
  const repeats = Array.from({ length: 9000 }, (): Item => ({ repeat: 0 }))
  t.strictSame(await pagesOf([{ unique: 0 }, ...repeats]), [4096, 4096, 809])
})

await t.test('the bytes do not depend on how the chunks were batched', async (t) => {
  const random = createRandom(1)
  const items: Item[] = []
  let count = 0
  while (items.length < 5000) {
    const kind = random.below(5)
    const run = 1 + random.below(40)
    for (let i = 0; i < run; i++) {
      if (kind === 0 || count === 0) items.push({ unique: count++ })
      else if (kind < 3) items.push({ repeat: random.below(count) })
      else items.push({ hole: 1 + random.below(1000) })
    }
  }
  const two = (size: number): BlockBatch[] => [
    ...inBatches(items, size),
    ...inBatches([{ repeat: 3 }, { hole: 4 }, { hole: 5 }, { unique: count }], size, 1)
  ]
  const expected = await run(two(1))
  await verifySnapshot(memorySource(expected), { concurrency: 1 })
  for (const size of [17, 100_000]) t.equal(Buffer.compare(await run(two(size)), expected), 0)
})

await t.test('streams that are empty, first or last', async (t) => {
  for (const [name, batches, sizes] of [
    ['both', [], [0, 0]],
    ['the first', [batchOf([{ unique: 0 }], 1)], [0, 20]],
    ['the last', [batchOf([{ unique: 0 }])], [20, 0]]
  ] as const) {
    const file = await run(batches)
    await verifySnapshot(memorySource(file), { concurrency: 1 })
    const snapshot = await openSnapshot(memorySource(file))
    t.strictSame(
      snapshot.streams.map(({ size }) => size),
      sizes,
      name
    )
  }
})

await t.test('progress tells the totals so far, summary the final ones', async (t) => {
  const progress: SnapshotTotals[] = []
  let summary: SnapshotTotals | undefined
  const stage = indexer({
    header,
    onProgress: (totals) => progress.push(totals),
    onSummary: (totals) => (summary = totals)
  })
  const file = fileOf(await runStage(inBatches([...unique(0, 10), { hole: 5 }, { repeat: 1 }], 4), stage))
  t.strictSame(
    progress.map(({ streams }) => streams[0]?.size),
    [80, 160, 205],
    'what is merged comes when it ends'
  )
  t.ok(progress.every(({ snapshotDigest }) => snapshotDigest === undefined))
  t.equal(summary?.fileSize, file.length)
  t.match(summary?.streams, [
    { name: 'disk', size: 225, blockCount: 10, repeatCount: 1, holeCount: 1, blockStoredSize: 440 },
    { name: 'memory', size: 0 }
  ])
  const { footer } = await verifySnapshot(memorySource(file), { quick: true })
  t.equal(hex(summary?.snapshotDigest ?? zeroBytes(1)), hex(footer.snapshotDigest))
})

await t.test('a repeat that the handle table has forgotten stops the build', async (t) => {
  const batch = batchOf([{ unique: 0 }, { unique: 1 }, { repeat: 0 }])
  t.equal(await rejected(run([batch], { capacity: 1 })), 'RangeError: no handle is held for unique chunk 0')
  t.equal(await rejected(run([batchOf([{ unique: 0 }], 2)])), 'RangeError: the header names no stream 2')
})

await t.test('key slots lie behind the header', async (t) => {
  const encrypted = makeHeader(resolveSettings(), ['disk'], true)
  const keySlots = randomBytes(10_240, 1)
  // Sealed, because the places in the file leave room for that.
  const sealing = makeSealing(randomBytes(32, 2), encodeHeader(encrypted))
  const run = async (batches: BlockBatch[], options: IndexerOptions): Promise<Buffer> =>
    fileOf(await runStage<SnapshotRecord>(batches, indexer(options), encryptor({ sealing })))
  const file = await run([batchOf([{ unique: 0 }])], { header: encrypted, keySlots })
  const headerSize = file.readUInt32LE(12)
  t.equal(Buffer.compare(file.subarray(headerSize, headerSize + 10_240), keySlots), 0)
  t.equal(framesOf(file)[0]?.offset, headerSize + 10_240)
  const later = setTimeout(50, keySlots)
  t.strictSame(await run([batchOf([{ unique: 0 }])], { header: encrypted, keySlots: later }), file)
  t.equal(
    await rejected(run([batchOf([{ unique: 0 }])], { header: encrypted })),
    'UsageError USAGE: the key slots of this header have 10240 bytes, not 0'
  )
  const failed = setTimeout(50).then(() => Promise.reject(new Error('no key')))
  t.equal(
    await rejected(run([batchOf([{ unique: 0 }])], { header: encrypted, keySlots: failed })),
    'Error: no key'
  )
})

await t.test('encryptor: passes everything as it is', async (t) => {
  const records = await runStage<SnapshotRecord>(inBatches(unique(0, 9), 2), indexer({ header }))
  const passed: SnapshotRecord[] = []
  for await (const record of Readable.from(records).pipe(encryptor())) passed.push(record)
  t.equal(passed.length, records.length)
  t.ok(passed.every((record, i) => record === records[i]))
})
