import t from 'tap'
import { pipeline } from 'node:stream/promises'
import { createFastCdc, type FastCdcOptions } from '../../lib/chunking/fastcdc.js'
import type { StreamStart } from '../../lib/records.js'
import {
  chunker,
  createSlabPool,
  createWorkerPool,
  type ChunkBatch,
  type ChunkerOptions
} from '../../transforms/index.js'
import { roomBefore } from '../../transforms/cut-fastcdc.js'
import { difference } from '../helpers/bytes.js'
import { cutEvery, cutRandomly, mixedBytes, randomBytes } from '../helpers/data.js'
import { caught } from '../helpers/errors.js'
import { endless, holdingSink, runStage, settle } from '../helpers/streams.js'

const KiB = 1024
const MiB = 1024 * KiB
const fastcdc = { chunker: 'fastcdc', min: 4 * KiB, avg: 16 * KiB, max: 32 * KiB } as const

/** Chunks as `offset+size`, checked to follow each other and to be made of the bytes. */
function chunksOf(batches: readonly ChunkBatch[], bytes: Uint8Array): string[] {
  const chunks: string[] = []
  let offset = 0
  for (const batch of batches) {
    if (batch.streamOffset !== offset)
      throw new Error(`a batch starts at ${batch.streamOffset}, not ${offset}`)
    const sum = batch.sizes.reduce((total, size) => total + size, 0)
    if (sum !== batch.bytes.length || sum === 0) throw new Error('sizes do not add up to the batch')
    const diff = difference(batch.bytes, bytes.subarray(offset, offset + sum))
    if (diff !== 'equal') throw new Error(diff)
    for (const size of batch.sizes) {
      chunks.push(`${offset}+${size}`)
      offset += size
    }
  }
  if (offset !== bytes.length) throw new Error(`${offset} of ${bytes.length} bytes came out`)
  return chunks
}

const run = (pieces: Iterable<unknown>, options: ChunkerOptions): Promise<ChunkBatch[]> =>
  runStage<ChunkBatch>(pieces, chunker(options))

await t.test('the chunks do not depend on how the bytes arrive', async (t) => {
  const bytes = mixedBytes(6 * MiB + 12_345, 1, 32 * KiB)
  for (const options of [{ avg: 64 * KiB }, { avg: 1000 }, fastcdc]) {
    const whole = await run([bytes], options)
    const expected = chunksOf(whole, bytes)
    t.equal(whole.length > 2, true, 'several batches')
    for (const [name, pieces] of [
      ['64 KiB at a time', cutEvery(bytes, 64 * KiB)],
      ['1 MiB at a time', cutEvery(bytes, MiB)],
      ['random cuts', cutRandomly(bytes, 2, 3000)],
      ['random large cuts', cutRandomly(bytes, 3, MiB)]
    ] as const) {
      const batches = await run(pieces, options)
      t.equal(chunksOf(batches, bytes).join(), expected.join(), name)
      t.equal(batches.length, whole.length, `${name}: the same batches`)
    }
  }
})

await t.test('threads that search for boundaries change nothing', async (t) => {
  const bytes = mixedBytes(5 * MiB + 12_345, 12, 32 * KiB)
  const expected = await run([bytes], fastcdc)
  const pool = createWorkerPool(3)
  t.teardown(() => pool.close())
  for (const pieces of [[bytes], cutRandomly(bytes, 13, 3000)]) {
    const batches = await run(pieces, { ...fastcdc, pool })
    t.equal(chunksOf(batches, bytes).join(), chunksOf(expected, bytes).join())
    t.strictSame(
      batches.map((batch) => batch.bytes.length),
      expected.map((batch) => batch.bytes.length)
    )
  }
})

await t.test('byte by byte, across the end of a batch', async (t) => {
  const bytes = mixedBytes(MiB + 20_000, 4, 32 * KiB)
  for (const options of [{ avg: 64 * KiB }, fastcdc]) {
    const expected = chunksOf(await run([bytes], options), bytes)
    const pieces = [bytes.subarray(0, MiB - 20_000), ...cutEvery(bytes.subarray(MiB - 20_000), 1)]
    t.equal(chunksOf(await run(pieces, options), bytes).join(), expected.join())
  }
})

/** The chunks that `createFastCdc` finds, one after another. */
function chunksFound(options: FastCdcOptions, bytes: Uint8Array): string[] {
  const find = createFastCdc(options)
  const chunks: string[] = []
  for (let start = 0; start < bytes.length;) {
    const end = find(bytes, start, bytes.length, true)
    chunks.push(`${start}+${end - start}`)
    start = end
  }
  return chunks
}

await t.test('where every position may be a cut, it is done soon', async (t) => {
  // The hash of 32 such bytes begins with nine zeros. It took a minute, while each cut looked at all that were left.
  const bytes = new Uint8Array(8 * MiB).fill(0xe8)
  const options = { chunker: 'fastcdc', min: 512, avg: 512, max: 1024 } as const
  t.equal(chunksOf(await run([bytes], options), bytes).join(), chunksFound(options, bytes).join())
})

await t.test('the chunks are those of the boundary finder', async (t) => {
  const bytes = mixedBytes(2 * MiB, 5)
  t.equal(chunksOf(await run([bytes], fastcdc), bytes).join(), chunksFound(fastcdc, bytes).join())
  const fixed = chunksOf(
    await run([bytes.subarray(0, 2_000_001)], { avg: 100_000 }),
    bytes.subarray(0, 2_000_001)
  )
  t.equal(fixed.length, 21)
  t.equal(fixed.at(-1), '2000000+1')
})

await t.test('chunks of the largest size', async (t) => {
  const bytes = Buffer.alloc(10 * MiB + 1)
  const sizes = (await run([bytes], { chunker: 'fastcdc', avg: 4 * MiB })).map(({ sizes }) => [...sizes])
  t.strictSame(sizes.flat(), [4 * MiB, 4 * MiB, 2 * MiB + 1])
  const fixed = (await run([bytes], { avg: 4 * MiB })).map(({ sizes }) => [...sizes])
  t.strictSame(fixed, [[4 * MiB], [4 * MiB], [2 * MiB + 1]], 'a large chunk is a batch of its own')
})

await t.test('streams: each starts anew, no chunk spans two', async (t) => {
  const start = (stream: number): StreamStart => ({ kind: 'stream', stream })
  const [first, second] = [randomBytes(100_000, 6), randomBytes(70_000, 7)]
  for (const options of [{ avg: 16 * KiB }, fastcdc]) {
    const batches = await run(
      [start(0), first, start(3), start(1), second.subarray(0, 9), second.subarray(9)],
      options
    )
    t.strictSame(
      batches.map(({ stream, streamOffset }) => [stream, streamOffset]),
      [
        [0, 0],
        [1, 0]
      ]
    )
    t.strictSame(chunksOf(batches.slice(0, 1), first), chunksOf(await run([first], options), first))
    t.strictSame(chunksOf(batches.slice(1), second), chunksOf(await run([second], options), second))
  }
  const [only] = await run([first], { stream: 5 })
  t.equal(only?.stream, 5)
})

await t.test('nothing in, nothing out', async (t) => {
  t.strictSame(await run([], {}), [])
  t.strictSame(await run([Buffer.alloc(0), Buffer.alloc(0)], fastcdc), [])
  const bytes = randomBytes(5000, 8)
  const batches = await run([Buffer.alloc(0), bytes, Buffer.alloc(0)], { avg: 4 * KiB })
  t.strictSame(chunksOf(batches, bytes), ['0+4096', '4096+904'])
})

await t.test('what it gives is a copy in shared memory', async (t) => {
  const bytes = randomBytes(5000, 9)
  const [batch] = await run([bytes], { avg: 4 * KiB })
  t.ok(batch?.bytes.buffer instanceof SharedArrayBuffer)
  const copy = Buffer.from(bytes)
  bytes.fill(0)
  t.equal(difference(batch?.bytes ?? bytes, copy), 'equal')
})

await t.test('one large buffer is cut as it is asked for, not all at once', async (t) => {
  const slabs = createSlabPool()
  let acquired = 0
  const counting = {
    ...slabs,
    acquire: (size: number, room?: number) => (acquired++, slabs.acquire(size, room))
  }
  const large = Buffer.alloc(64 * MiB)
  const source = endless(() => large)
  const { stream, isFull } = holdingSink(2)
  const stage = chunker({ slabs: counting })
  const done = pipeline(source.stream, stage, stream).catch(() => undefined)
  await isFull
  await settle()
  t.ok(acquired <= 6, `${acquired} of 32 batches are made while two were taken`)
  stage.destroy()
  await done
})

await t.test('released memory is used again and holds the right bytes', async (t) => {
  const bytes = mixedBytes(32 * MiB, 10)
  const large = { chunker: 'fastcdc', avg: 2 * MiB } as const
  for (const options of [fastcdc, large, { avg: 64 * KiB }, { avg: 4 * MiB }]) {
    const slabs = createSlabPool()
    const memory = new Set<ArrayBufferLike>()
    const found: Buffer[] = []
    const stage = chunker({ ...options, slabs })
    await pipeline(cutEvery(bytes, 100_000), stage, async (batches: AsyncIterable<ChunkBatch>) => {
      for await (const batch of batches) {
        memory.add(batch.bytes.buffer)
        found.push(Buffer.from(batch.bytes))
        batch.release?.()
      }
    })
    t.equal(difference(Buffer.concat(found), bytes), 'equal')
    t.ok(memory.size <= 4, `${memory.size} slabs for 8 or 16 batches`)
  }
})

await t.test('bytes of whole slabs give the same batches, without a copy where that can be', async (t) => {
  const bytes = mixedBytes(6 * MiB + 12_345, 11, 32 * KiB)
  for (const [options, room, isTakenOver] of [
    [{ avg: 64 * KiB }, 0, true],
    [{ avg: 1000 }, 0, false],
    [fastcdc, roomBefore(fastcdc.max), true],
    [fastcdc, roomBefore(fastcdc.max) - 64, false]
  ] as const) {
    const slabs = createSlabPool()
    const pieces = cutEvery(bytes, 2 * MiB).map((piece) => {
      const slab = slabs.acquire(piece.length, room)
      slab.bytes.set(piece)
      return slab.bytes
    })
    const given = new Set(pieces.map(({ buffer }) => buffer))
    const batches = await run(pieces, { ...options, slabs })
    const plain = await run([bytes], options)
    t.equal(chunksOf(batches, bytes).join(), chunksOf(plain, bytes).join())
    t.equal(batches.length, plain.length)
    t.equal(batches[0] !== undefined && given.has(batches[0].bytes.buffer), isTakenOver)
    for (const batch of batches) batch.release?.()
    const again = Array.from({ length: 16 }, () => slabs.acquire(1).bytes.buffer)
    t.equal(
      [...given].every((buffer) => again.includes(buffer)),
      true,
      'all of them come back'
    )
  }
  // A slab in the midst of other bytes is copied like them.
  const slabs = createSlabPool()
  const slab = slabs.acquire(2 * MiB)
  slab.bytes.set(bytes.subarray(5, 5 + 2 * MiB))
  const odd = [bytes.subarray(0, 5), slab.bytes, bytes.subarray(5 + 2 * MiB)]
  chunksOf(await run(odd, { slabs }), bytes)
})

await t.test('settings that make no sense are refused', (t) => {
  const refused = (options: ChunkerOptions): string => caught(() => chunker(options))
  const range = 'UsageError USAGE: chunk sizes must be whole numbers from 512 bytes to 4 MiB; these are'
  t.equal(refused({ avg: 511 }), `${range} 511, 511, 511`)
  t.equal(refused({ avg: 4 * MiB + 1 }), `${range} 4194305, 4194305, 4194305`)
  t.equal(refused({ avg: 1000.5 }), `${range} 1000.5, 1000.5, 1000.5`)
  t.equal(refused({ avg: NaN }), `${range} NaN, NaN, NaN`)
  t.equal(refused({ ...fastcdc, min: 511 }), `${range} 511, 16384, 32768`)
  t.equal(
    refused({ ...fastcdc, min: 16 * KiB + 1 }),
    'UsageError USAGE: chunk sizes must rise: smallest 16385, average 16384, largest 32768 do not'
  )
  t.equal(
    refused({ ...fastcdc, max: 16 * KiB - 1 }),
    'UsageError USAGE: chunk sizes must rise: smallest 4096, average 16384, largest 16383 do not'
  )
  for (const avg of [512, 513, 1000, 2050, 4 * MiB])
    t.equal(refused({ chunker: 'fastcdc', avg }), 'nothing was thrown', `defaults fit an average of ${avg}`)
  t.end()
})
