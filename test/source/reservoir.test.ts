import t from 'tap'
import { createSpread } from '../../lib/compression/spread.js'
import { memoryLimits } from '../../lib/limits.js'
import { createReservoir, joinSources } from '../../lib/source/reservoir.js'
import type { SampledSource } from '../../lib/source/sample.js'
import { cutRandomly, randomBytes } from '../helpers/data.js'

const unit = memoryLimits.reservoirUnitSize

await t.test('a spread is even, bounded, and not much thinner than half', (t) => {
  for (const countMax of [1, 2, 7, 64])
    for (const length of [0, 1, 2, 6, 7, 8, 63, 64, 65, 1000, 4097]) {
      const spread = createSpread(countMax)
      let taken: number[] = []
      for (let number = 0; number < length; number++) {
        if (spread.takes(number)) taken.push(number)
        taken = taken.filter((old) => spread.holds(old))
        if (taken.length > countMax) t.fail(`${taken.length} of at most ${countMax}`)
      }
      const name = `${countMax} of ${length}`
      t.ok(taken.length >= Math.min(length, Math.ceil(countMax / 2) - 2, countMax), `${name}: enough`)
      t.ok(length === 0 || taken[0] === 0, `${name}: from the beginning`)
      const gaps = taken.map((number, i) => (taken[i + 1] ?? length) - number)
      const wide = (4 * length) / Math.max(1, taken.length)
      t.ok(Math.max(0, ...gaps) <= Math.max(wide, 1), `${name}: to the end`)
      // Whatever is in every second or every eighth place is met as often as it is there.
      if (taken.length < 30 || length === taken.length) continue
      for (const rhythm of [2, 4, 8]) {
        const met = taken.filter((number) => number % rhythm === 0).length
        t.ok(Math.abs(met / taken.length - 1 / rhythm) < 0.1, `${name}: one in ${rhythm}`)
      }
    }
  t.end()
})

/** All bytes of a source, read in odd portions. */
async function bytesOf(source: SampledSource, portion: number): Promise<Buffer> {
  const bytes = Buffer.alloc(source.size)
  for (let offset = 0; offset < bytes.length; offset += portion)
    await source.readAt(offset, bytes.subarray(offset, offset + portion))
  return bytes
}

await t.test('a reservoir keeps all that fits, and else units from all over the stream', async (t) => {
  const short = randomBytes(3 * unit + 12_345, 1)
  const small = createReservoir(4 * unit)
  for (const piece of cutRandomly(short, 2, 100_000)) small.add(piece)
  t.ok((await bytesOf(small.end(), 77_777)).equals(short), 'everything')

  // Each unit is filled with its number.
  const long = Buffer.concat(
    Array.from({ length: 21 }, (_, i) => Buffer.alloc(i === 20 ? 1000 : unit, i + 1))
  )
  const one = createReservoir(8 * unit)
  one.add(long)
  const other = createReservoir(8 * unit)
  for (const piece of cutRandomly(long, 3, 2 * unit)) other.add(piece)
  const kept = await bytesOf(one.end(), unit)
  t.ok(kept.equals(await bytesOf(other.end(), 99_999)), 'however the stream was cut')
  t.ok(kept.length >= 4 * unit && kept.length <= 8 * unit, `${kept.length} bytes are kept`)
  const numbers = Array.from({ length: Math.ceil(kept.length / unit) }, (_, i) => kept[i * unit] ?? 0)
  t.strictSame(
    numbers,
    numbers.toSorted((a, b) => a - b),
    'in order'
  )
  t.ok(numbers[0] === 1 && (numbers.at(-1) ?? 0) > 14, 'from beginning to end')
  t.equal(createReservoir(0).end().size, 0)
})

await t.test('sources that are joined are read as one', async (t) => {
  const parts = [randomBytes(1000, 1), Buffer.alloc(0), randomBytes(1, 2), randomBytes(5000, 3)]
  const joined = joinSources(
    parts.map((part) => ({
      size: part.length,
      readAt: (offset: number, into: Uint8Array) => {
        into.set(part.subarray(offset, offset + into.length))
        return Promise.resolve()
      }
    }))
  )
  t.equal(joined.size, 6001)
  for (const portion of [1, 999, 1000, 1002, 7000])
    t.ok((await bytesOf(joined, portion)).equals(Buffer.concat(parts)), `${portion} at a time`)
  const into = Buffer.alloc(10, 'x')
  await joined.readAt(5996, into)
  t.ok(into.subarray(5).equals(Buffer.from('xxxxx')), 'what lies behind the end is left alone')
})
