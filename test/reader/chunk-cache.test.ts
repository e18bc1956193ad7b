import t from 'tap'
import { memoryLimits } from '../../lib/limits.js'
import { createChunkCache, type ChunkCache } from '../../lib/reader/chunk-cache.js'
import { createRandom } from '../helpers/data.js'

const KiB = 1024
const MiB = 1024 * KiB

/** A cache, and the bytes of memory that it has asked for. */
function cacheOf(sizeMax: number): { cache: ChunkCache; made: number[] } {
  const made: number[] = []
  const cache = createChunkCache(sizeMax, (size) => {
    made.push(size)
    return new ArrayBuffer(size)
  })
  return { cache, made }
}

const sum = (sizes: readonly number[]): number => sizes.reduce((total, size) => total + size, 0)

function keep(cache: ChunkCache, key: string, size: number, byte: number): void {
  const room = cache.reserve(size)
  room.bytes.fill(byte)
  room.keep(key)
}

await t.test('chunks of all sizes share memory that is made once', (t) => {
  const { cache, made } = cacheOf(16 * MiB)
  const random = createRandom(5)
  const sizes = new Map<string, number>()
  for (let i = 0; i < 5000; i++) {
    const size = 1 + random.below(300 * KiB)
    sizes.set(String(i), size)
    keep(cache, String(i), size, i % 256)
  }
  t.strictSame(
    made,
    Array.from({ length: 8 }, () => memoryLimits.cacheSegmentSize)
  )
  const kept = [...sizes].filter(([key]) => cache.peek(key) !== undefined)
  t.ok(sum(kept.map(([, size]) => size)) > 12 * MiB, 'most of the memory holds chunks')
  t.equal(kept[0]?.[0], String(5000 - kept.length), 'those kept last')
  for (const [key, size] of kept) {
    const chunk = cache.peek(key)
    if (chunk?.length !== size || !chunk.every((byte) => byte === Number(key) % 256)) t.fail(`chunk ${key}`)
  }
  cache.clear()
  t.equal(cache.peek('4999'), undefined)
  t.end()
})

await t.test('small chunks count for what they cost; large ones get memory of their own', (t) => {
  const { cache, made } = cacheOf(16 * MiB)
  for (let i = 0; i < 20_000; i++) keep(cache, String(i), 1, 7)
  const count = Array.from({ length: 20_000 }, (_, i) => cache.peek(String(i))).filter(Boolean).length
  t.ok(count <= 8192 && count > 7000, `${count} chunks of one byte`)
  keep(cache, 'large', 4 * MiB, 9)
  t.equal(cache.peek('large')?.length, 4 * MiB)
  keep(cache, 'larger', 15 * MiB, 9)
  t.equal(cache.peek('large'), undefined)
  t.equal(cache.peek('larger')?.length, 15 * MiB)
  t.equal(sum(made), (16 + 4 + 15) * MiB)
  t.end()
})

await t.test('memory that waits for its chunk is nobody else\u2019s', (t) => {
  const { cache, made } = cacheOf(4 * MiB)
  const rooms = Array.from({ length: 64 }, () => cache.reserve(64 * KiB))
  t.equal(sum(made), 4 * MiB)
  const beyond = cache.reserve(64 * KiB)
  t.equal(sum(made), 4 * MiB + 64 * KiB, 'where there is no room, a chunk has memory of its own')
  beyond.keep('beyond')
  t.equal(cache.peek('beyond'), undefined, 'and is not kept')
  for (const [i, room] of rooms.entries()) room.bytes.fill(i)
  for (const [i, room] of rooms.entries()) room.keep(String(i))
  t.ok(rooms.every((_, i) => cache.peek(String(i))?.every((byte) => byte === i)))
  t.end()
})

await t.test('memory of a chunk that did not come is not used again', (t) => {
  const { cache } = cacheOf(1 * MiB)
  const late = cache.reserve(128 * KiB)
  late.drop()
  for (let i = 0; i < 100; i++) keep(cache, String(i), 128 * KiB, 1)
  late.bytes.fill(2) // a thread that was given up writes after all
  for (let i = 0; i < 100; i++)
    if (cache.peek(String(i))?.every((byte) => byte === 1) === false) t.fail(`chunk ${i}`)
  t.ok(cache.peek('99'))
  t.end()
})

await t.test('a chunk that finds no room leaves the others alone', (t) => {
  const { cache } = cacheOf(1 * MiB)
  keep(cache, 'a', 1000, 1)
  keep(cache, 'large', 2 * MiB, 2)
  t.strictSame([cache.peek('a')?.length, cache.peek('large')], [1000, undefined])
  t.end()
})

await t.test('without room, nothing is kept', (t) => {
  const { cache, made } = cacheOf(0)
  keep(cache, 'a', 1000, 1)
  t.equal(cache.peek('a'), undefined)
  t.strictSame(made, [1000])
  t.end()
})
