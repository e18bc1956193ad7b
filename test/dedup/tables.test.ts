import t from 'tap'
import fc from 'fast-check'
import { createDigestTable, type DigestTable } from '../../lib/dedup/digest-table.js'
import { createHandleTable } from '../../lib/dedup/handle-table.js'
import { createRing } from '../../lib/dedup/ring.js'
import { memoryLimits } from '../../lib/limits.js'
import { dedupCapacity } from '../../transforms/dedup-filter.js'
import { createRandom } from '../helpers/data.js'
import { caught } from '../helpers/errors.js'
import { checkProperty } from '../helpers/property.js'

/** What the table must do: remember the newest `capacity` digests, each under the number it was added as. */
function createModel(capacity: number): (key: string) => number {
  const added: string[] = []
  return (key) => {
    const ordinal = added.lastIndexOf(key)
    if (ordinal !== -1 && ordinal >= added.length - capacity) return ordinal
    added.push(key)
    return -1
  }
}

/** A digest whose first word says where it goes in the table, and the others what it is. */
const digestOf = (first: number, rest: number): Uint32Array =>
  Uint32Array.of(first, 0, 0, 0, rest, 0, 0, rest)

/** Adds digests that differ, spread as digests are. */
function fill(table: DigestTable, count: number): void {
  const random = createRandom(table.addedCount)
  const words = new Uint32Array(8)
  for (let i = 0; i < count; i++) {
    words[0] = random.below(2 ** 32)
    words[1] = table.addedCount
    table.findOrAdd(words)
  }
}

await t.test('digest table: does what a Map and a queue would do', (t) => {
  const word = fc.oneof(
    fc.constantFrom(0, 1, 0x80000000, 0xffffffff),
    fc.integer({ min: 0, max: 0xffffffff })
  )
  const property = fc.property(
    fc.integer({ min: 1, max: 20 }),
    fc.array(fc.tuple(word, fc.integer({ min: 0, max: 3 })), { maxLength: 300 }),
    (capacity, keys) => {
      const table = createDigestTable(capacity)
      const model = createModel(capacity)
      let added = 0
      for (const [first, rest] of keys) {
        const expected = model(`${first} ${rest}`)
        if (expected === -1) added += 1
        if (table.findOrAdd(digestOf(first, rest)) !== expected) return false
      }
      return table.addedCount === added && table.forgottenCount === Math.max(0, added - capacity)
    }
  )
  return checkProperty(t, property, 500)
})

await t.test('digest table: the same while it grows and far behind its capacity', (t) => {
  const random = createRandom(1)
  for (const capacity of [1, 2, 700, 3000, 20_000]) {
    const table = createDigestTable(capacity)
    const newest = new Map<number, number>()
    let added = 0
    const wrong: number[] = []
    for (let i = 0; i < 60_000; i++) {
      const key = random.below(2 * capacity)
      const ordinal = newest.get(key)
      const isKept = ordinal !== undefined && ordinal >= added - capacity
      const found = table.findOrAdd(digestOf(Math.imul(key, 0x9e3779b1) >>> 0, key))
      if (found !== (isKept ? ordinal : -1)) wrong.push(i)
      if (!isKept) newest.set(key, added++)
    }
    t.strictSame(wrong.slice(0, 5), [], `capacity ${capacity}`)
    t.equal(table.addedCount, added)
  }
  t.end()
})

await t.test('digest table: digests that differ only in their last bit are told apart', (t) => {
  const table = createDigestTable(100)
  const words = Array.from({ length: 8 }, (_, i) =>
    Uint32Array.from({ length: 8 }, (_, j) => (i === j ? 1 : 0))
  )
  t.strictSame(
    words.map((one) => table.findOrAdd(one)),
    [-1, -1, -1, -1, -1, -1, -1, -1]
  )
  t.strictSame(
    words.map((one) => table.findOrAdd(one)),
    [0, 1, 2, 3, 4, 5, 6, 7]
  )
  t.end()
})

await t.test('digest table: keeps a copy of what it was given', (t) => {
  const table = createDigestTable(10)
  const words = digestOf(1, 2)
  table.findOrAdd(words)
  words.fill(9)
  t.equal(table.findOrAdd(digestOf(1, 2)), 0)
  t.equal(table.findOrAdd(digestOf(9, 9)), -1)
  t.end()
})

await t.test('handle table: gives back what was added, and nothing that is forgotten', (t) => {
  for (const capacity of [1, 3, 16_384, 16_385, 40_000]) {
    const table = createHandleTable(capacity)
    const handleOf = (ordinal: number): { offset: number; size: number } => ({
      offset: 2 ** 48 - 1 - ordinal * 1_000_003,
      size: (0xffffffff - ordinal) >>> 0
    })
    const count = 2 * capacity + 7
    for (let ordinal = 0; ordinal < count; ordinal++) table.add(handleOf(ordinal))
    const wrong: number[] = []
    for (let ordinal = count - capacity; ordinal < count; ordinal++) {
      const { offset, size } = table.get(ordinal)
      const expected = handleOf(ordinal)
      if (offset !== expected.offset || size !== expected.size) wrong.push(ordinal)
    }
    t.strictSame(wrong, [], `capacity ${capacity}`)
    for (const ordinal of [count - capacity - 1, count, -1])
      t.equal(
        caught(() => table.get(ordinal)),
        `RangeError: no handle is held for unique chunk ${ordinal}`
      )
  }
  t.end()
})

await t.test('ring: rows of any width, allocated as they are written', (t) => {
  const ring = createRing(100_000, 3)
  t.equal(ring.byteSize, 0)
  ring.set(99_999, [1, 2, 0xffffffff])
  t.equal(ring.byteSize, (100_000 % 16_384) * 12, 'the last segment is as large as what is left')
  t.equal(ring.word(99_999, 2), 0xffffffff)
  t.equal(ring.equals(99_999, [1, 2, 0xffffffff]), true)
  t.equal(ring.equals(99_999, [1, 2, 3]), false)
  ring.set(0, [4, 5, 6])
  t.equal(ring.byteSize, (100_000 % 16_384) * 12 + 16_384 * 12)
  t.equal(ring.word(0, 0), 4)
  t.end()
})

await t.test('memory: at most 48 bytes a remembered chunk, its handle included', (t) => {
  const [digests, handles] = [createDigestTable(2 ** 22), createHandleTable(2 ** 22)]
  const segment = 16_384
  const measured: number[] = []
  for (let count = segment; count <= 16 * segment; count += segment) {
    fill(digests, segment)
    for (let i = 0; i < segment; i++) handles.add({ offset: i, size: 1 })
    measured.push((digests.byteSize + handles.byteSize) / count)
  }
  t.ok(Math.max(...measured) <= memoryLimits.dedupEntrySizeMax, `at whole segments: ${measured.join(' ')}`)
  t.ok(Math.min(...measured) > 42, 'digest and handle alone take 42')
  t.end()
})

await t.test('memory: a full table stays within what it was given', (t) => {
  for (const memory of [1, 2, 3, 5, 8].map((mib) => mib * 1024 * 1024)) {
    const capacity = dedupCapacity(memory)
    const [digests, handles] = [createDigestTable(capacity), createHandleTable(capacity)]
    fill(digests, capacity + 1000)
    for (let i = 0; i < capacity + 1000; i++) handles.add({ offset: i, size: 1 })
    const size = digests.byteSize + handles.byteSize
    t.equal(digests.forgottenCount, 1000)
    t.ok(size <= memory, `${size} of ${memory} bytes`)
  }
  t.end()
})

await t.test('capacity: from the memory given', (t) => {
  t.equal(dedupCapacity(), Math.floor((512 * 1024 * 1024) / 48))
  t.equal(dedupCapacity(1024 * 1024), 21845)
  t.equal(dedupCapacity(1), 1)
  t.equal(dedupCapacity(2 ** 50), 2 ** 32 - 2)
  t.end()
})
