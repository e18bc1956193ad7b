import t from 'tap'
import { createBlockDecoder } from '../../lib/compression/codecs.js'
import { decodeFrameHeader, isFrameIntact } from '../../lib/format/frame.js'
import {
  chunker,
  compressor,
  createWorkerPool,
  dedupFilter,
  dictionarySampler,
  inlinePool,
  type BlockBatch,
  type ChunkBatch,
  type CompressorOptions,
  type DedupFilterOptions,
  type FilteredBatch
} from '../../transforms/index.js'
import { difference, hex } from '../helpers/bytes.js'
import { cutEvery, mixedBytes, randomBytes, repeatBytes, textBytes, zeroBytes } from '../helpers/data.js'
import { caught } from '../helpers/errors.js'
import { runStage } from '../helpers/streams.js'
import { blake3 } from '../../lib/format/digest.js'

const chunkSize = 1000
const pool = createWorkerPool(3)
t.teardown(() => pool.close())

/** The bytes as batches of a few chunks each. */
function batchesOf(bytes: Uint8Array, chunksPerBatch: number, stream = 0): ChunkBatch[] {
  return cutEvery(bytes, chunkSize * chunksPerBatch).map((piece, i) => ({
    kind: 'chunks',
    stream,
    streamOffset: i * chunkSize * chunksPerBatch,
    bytes: piece,
    sizes: Uint32Array.from(cutEvery(piece, chunkSize), (chunk) => chunk.length)
  }))
}

const filter = (batches: readonly ChunkBatch[], options: DedupFilterOptions = {}): Promise<FilteredBatch[]> =>
  runStage<FilteredBatch>(batches, dedupFilter(options))

/** Each chunk as a word: `u` unique, `h` hole, a number for a repeat of that unique chunk. */
const words = (batches: readonly FilteredBatch[]): string =>
  batches
    .flatMap((batch) => batch.chunks)
    .map((chunk) => (chunk.kind === 'repeat' ? String(chunk.ordinal) : (chunk.kind[0] ?? '')))
    .join(' ')

/** One letter a chunk: equal letters are equal chunks, a dot is a chunk of zeros. */
const spell = (text: string): Buffer =>
  Buffer.concat(
    Array.from(text, (letter) =>
      letter === '.' ? zeroBytes(chunkSize) : randomBytes(chunkSize, letter.charCodeAt(0))
    )
  )

await t.test('dedup filter: unique chunks, repeats and holes', async (t) => {
  const batches = await filter(batchesOf(spell('ab.a..cbac'), 4))
  t.equal(words(batches), 'u u h 0 h h u 1 0 2')
  t.strictSame(
    batches.map(({ kind, stream, streamOffset, bytes }) => [kind, stream, streamOffset, bytes.length]),
    [
      ['filtered', 0, 0, 4000],
      ['filtered', 0, 4000, 4000],
      ['filtered', 0, 8000, 2000]
    ]
  )
  const [a, b, hole, repeat] = batches[0]?.chunks ?? []
  const digest = Buffer.from(blake3(randomBytes(chunkSize, 97)))
  t.match(a, { kind: 'unique', start: 0, rawSize: chunkSize })
  t.match(b, { kind: 'unique', start: chunkSize, rawSize: chunkSize })
  t.strictSame(hole, { kind: 'hole', rawSize: chunkSize })
  t.match(repeat, { kind: 'repeat', ordinal: 0, rawSize: chunkSize })
  for (const chunk of [a, repeat])
    t.equal(hex(chunk?.kind !== 'hole' ? (chunk?.digest ?? digest) : zeroBytes(1)), hex(digest))
})

await t.test('dedup filter: over batches, streams and chunk sizes', async (t) => {
  const disk = spell('abc')
  const memory = Buffer.concat([spell('cxa'), randomBytes(500, 98)])
  const batches = await filter([
    ...batchesOf(disk, 2),
    ...batchesOf(memory, 2, 1),
    ...batchesOf(memory, 9, 1)
  ])
  t.equal(words(batches), 'u u u 2 u 0 u 2 3 0 4', 'half of chunk b is no repeat of it')
  t.strictSame(
    batches.map(({ stream }) => stream),
    [0, 0, 1, 1, 1]
  )
})

await t.test('dedup filter: neither batches nor threads change what repeats', async (t) => {
  const bytes = Buffer.concat([mixedBytes(300_000, 1, chunkSize), zeroBytes(700)])
  const expected = words(await filter(batchesOf(bytes, 1)))
  for (const word of ['u', 'h', '0']) t.ok(expected.split(' ').includes(word), `the sample has ${word}`)
  for (const count of [2, 7, 100, 1000])
    for (const one of [inlinePool, pool])
      t.equal(words(await filter(batchesOf(bytes, count), { pool: one })), expected)
})

await t.test('dedup filter: what is forgotten is unique again, and never a wrong repeat', async (t) => {
  t.equal(words(await filter(batchesOf(spell('abaXaYbab'), 3), { capacity: 2 })), 'u u 0 u u u u u 5')
  t.equal(words(await filter(batchesOf(spell('aabbaa'), 3), { capacity: 1 })), 'u 0 u 1 u 2')
})

await t.test('dedup filter: impossible capacities are refused', (t) => {
  for (const capacity of [0, -1, 1.5, NaN, 2 ** 32 - 1])
    t.equal(
      caught(() => dedupFilter({ capacity })),
      `UsageError USAGE: the dedup table can't remember ${capacity} chunks`
    )
  t.end()
})

await t.test('dictionary sampler: passes everything as it is', async (t) => {
  const batches = await filter(batchesOf(spell('ab.a'), 2))
  const passed = await runStage<FilteredBatch>(batches, dictionarySampler())
  t.equal(passed.length, 2)
  passed.forEach((batch, i) => t.equal(batch, batches[i], 'the same object'))
})

const compress = (
  batches: readonly FilteredBatch[],
  options: CompressorOptions = {}
): Promise<BlockBatch[]> => runStage<BlockBatch>(batches, compressor(options))

/** Chunks with their frames, whatever the batches. */
function blocksOf(batches: readonly BlockBatch[]): { kind: string; rawSize: number; frame?: Uint8Array }[] {
  return batches.flatMap(({ frames, chunks }) =>
    chunks.map((chunk) =>
      chunk.kind === 'block'
        ? {
            kind: 'block',
            rawSize: chunk.rawSize,
            frame: frames.slice(chunk.start, chunk.start + chunk.storedSize)
          }
        : { kind: chunk.kind, rawSize: chunk.rawSize }
    )
  )
}

await t.test('compressor: every block decodes to its chunk, in order, under its own checksum', async (t) => {
  const bytes = mixedBytes(200_000, 2, chunkSize)
  const decode = createBlockDecoder()
  for (const [codec, level] of [
    ['lz4', 0],
    ['zstd', 3],
    ['raw', 0]
  ] as const) {
    const filtered = await filter(batchesOf(bytes, 7, 3))
    const batches = await compress(filtered, { codec, level })
    const codecs = new Set<string>()
    let offset = 0
    for (const { kind, rawSize, frame } of blocksOf(batches)) {
      if (frame !== undefined) {
        const header = decodeFrameHeader(frame, 'x', 0)
        codecs.add(header.codec)
        if (!isFrameIntact(frame) || header.type !== 'block' || header.stream !== 3) t.fail('a wrong frame')
        const view = new DataView(frame.buffer, frame.byteOffset)
        if (Number(view.getBigUint64(16, true)) !== offset) t.fail('a wrong stream offset')
        const raw = decode(header.codec, frame.subarray(24), rawSize)
        if (difference(raw, bytes.subarray(offset, offset + rawSize)) !== 'equal') t.fail('a wrong chunk')
      } else if (kind === 'block') t.fail('a block without frame')
      offset += rawSize
    }
    t.equal(offset, bytes.length, codec)
    t.strictSame([...codecs].sort(), codec === 'raw' ? ['raw'] : ['raw', codec].sort())
    t.strictSame(
      batches.map(({ stream, streamOffset }) => [stream, streamOffset]),
      filtered.map(({ stream, streamOffset }) => [stream, streamOffset])
    )
  }
})

await t.test('compressor: a block that does not shrink is stored raw and costs 24 bytes', async (t) => {
  for (const codec of ['lz4', 'zstd', 'raw'] as const)
    for (const size of [1, 15, 1000, 65_536, 1_048_576]) {
      const bytes = randomBytes(size, size)
      const batch: ChunkBatch = {
        kind: 'chunks',
        stream: 0,
        streamOffset: 0,
        bytes,
        sizes: Uint32Array.of(size)
      }
      const [block] = blocksOf(await compress(await filter([batch]), { codec }))
      t.equal(block?.frame?.length, size + 24)
      t.equal(difference(block?.frame?.subarray(24) ?? bytes.subarray(1), bytes), 'equal')
    }
})

await t.test('compressor: the level is used, and text shrinks', async (t) => {
  const filtered = await filter(batchesOf(textBytes(100_000, 1), 50))
  const sizeOf = async (options: CompressorOptions): Promise<number> =>
    (await compress(filtered, options)).reduce((sum, { chunks }) => {
      const blocks = chunks.filter((chunk) => chunk.kind === 'block')
      return sum + blocks.reduce((size, { storedSize }) => size + storedSize, 0)
    }, 0)
  const [lz4, three, high] = [
    await sizeOf({ codec: 'lz4' }),
    await sizeOf({ codec: 'zstd' }),
    await sizeOf({ codec: 'zstd', level: 9 })
  ]
  t.ok(lz4 < 80_000 && three < lz4 && high < three, `${lz4}, ${three}, ${high}`)
})

await t.test('compressor: neither batches nor threads change a frame', async (t) => {
  const bytes = mixedBytes(300_000, 3, chunkSize)
  const text = (batches: readonly BlockBatch[]): string =>
    blocksOf(batches)
      .map(({ kind, rawSize, frame }) => (frame === undefined ? `${kind}${rawSize}` : hex(frame)))
      .join()
  for (const codec of ['lz4', 'zstd'] as const) {
    const expected = text(await compress(await filter(batchesOf(bytes, 1)), { codec }))
    for (const count of [3, 1000])
      for (const one of [inlinePool, pool])
        t.equal(
          text(await compress(await filter(batchesOf(bytes, count)), { codec, pool: one })) === expected,
          true
        )
  }
})

await t.test(
  'compressor: releases what it has used, once, also when there is nothing to compress',
  async (t) => {
    const released: number[] = []
    const filtered = (await filter(batchesOf(spell('ab..aac.'), 2))).map((batch, i) => ({
      ...batch,
      release: () => void released.push(i)
    }))
    const batches = await compress(filtered)
    t.strictSame(released.sort(), [0, 1, 2, 3])
    t.strictSame(
      batches.map(({ chunks }) => chunks.map(({ kind }) => kind).join()),
      ['block,block', 'hole,hole', 'repeat,repeat', 'block,hole']
    )
    t.equal(batches[1]?.frames.length, 0)
    t.equal(batches[1]?.release, undefined)
  }
)

await t.test('chunks of zeros never become blocks, whatever the chunker', async (t) => {
  const KiB = 1024
  const bytes = Buffer.concat([
    zeroBytes(300 * KiB),
    randomBytes(64 * KiB, 1),
    zeroBytes(1024 * KiB),
    repeatBytes(Buffer.concat([randomBytes(10 * KiB, 2), zeroBytes(150 * KiB)]), 5),
    zeroBytes(77)
  ])
  const options = { min: 4 * KiB, avg: 16 * KiB, max: 32 * KiB }
  for (const name of ['fixed', 'fastcdc'] as const) {
    const batches = await runStage<BlockBatch>(
      cutEvery(bytes, 50_000),
      chunker({ ...options, chunker: name }),
      dedupFilter({ pool }),
      dictionarySampler(),
      compressor({ codec: 'raw', pool })
    )
    const blocks = blocksOf(batches)
    const zeroBlocks = blocks.filter(({ frame }) => frame?.subarray(24).every((byte) => byte === 0))
    t.equal(zeroBlocks.length, 0, name)
    const sum = (kind: string): number =>
      blocks.filter((block) => block.kind === kind).reduce((size, { rawSize }) => size + rawSize, 0)
    t.equal(sum('hole') + sum('block') + sum('repeat'), bytes.length)
    t.ok(sum('hole') > 1700 * KiB, `${sum('hole')} bytes of holes`)
    t.ok(sum('block') < 300 * KiB, `${sum('block')} bytes of blocks`)
  }
})
