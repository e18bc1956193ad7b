import t from 'tap'
import { createFastCdc, windowSize, type FastCdcOptions } from '../../lib/chunking/fastcdc.js'
import { createFixed, type BoundaryFinder } from '../../lib/chunking/fixed.js'
import { gear } from '../../lib/chunking/gear.js'
import { isZero } from '../../lib/chunking/zero.js'
import { sha256 } from '../helpers/bytes.js'
import { createRandom, mixedBytes, randomBytes, textBytes, zeroBytes } from '../helpers/data.js'

const KiB = 1024
const small: FastCdcOptions = { min: KiB, avg: 4 * KiB, max: 8 * KiB }

/** Sizes of all chunks of bytes that are there at once. */
function sizesOf(find: BoundaryFinder, bytes: Uint8Array): number[] {
  const sizes: number[] = []
  for (let start = 0; start < bytes.length;) {
    const end = find(bytes, start, bytes.length, true)
    if (end <= start) throw new Error(`no boundary behind ${start}`)
    sizes.push(end - start)
    start = end
  }
  return sizes
}

/** Ends of all chunks. */
function endsOf(find: BoundaryFinder, bytes: Uint8Array): number[] {
  let end = 0
  return sizesOf(find, bytes).map((size) => (end += size))
}

/** FastCDC as its definition says it, without any of the shortcuts: the oracle. */
function slowBoundary(bytes: Uint8Array, start: number, { min, avg, max }: FastCdcOptions): number {
  const bits = Math.round(Math.log2(avg))
  for (let end = start + min + 1; end < Math.min(bytes.length, start + max); end++) {
    let hash = 0n
    for (let i = end - windowSize; i < end; i++)
      hash = (hash << 1n) + BigInt((gear[bytes[i] ?? 0] ?? 0) >>> 0)
    const zeroBits = end - start <= avg ? bits + 2 : bits - 2
    if ((hash & 0xffffffffn) >> BigInt(32 - zeroBits) === 0n) return end
  }
  return Math.min(bytes.length, start + max)
}

await t.test('the gear table is frozen', (t) => {
  t.equal(gear.length, 256)
  t.strictSame([...gear.subarray(0, 4)], [1380527963, 499126466, 1248248628, -208379449])
  const bytes = Buffer.alloc(1024)
  gear.forEach((value, i) => bytes.writeInt32LE(value, 4 * i))
  t.equal(sha256(bytes), 'ea66a6681ff333101336e448b86651f914595ba29139b4c7731218574437ca4a')
  t.end()
})

await t.test('FastCDC boundaries are frozen', (t) => {
  t.strictSame(
    sizesOf(createFastCdc(small), randomBytes(100_000, 1)),
    [
      4666, 5661, 4214, 4607, 4421, 6065, 2475, 5759, 5372, 4357, 4438, 4663, 4920, 4794, 3788, 4338, 1320,
      4317, 5316, 4474, 4776, 5259
    ]
  )
  t.strictSame(
    sizesOf(createFastCdc(small), textBytes(100_000, 1)),
    [
      8192, 4864, 2187, 4749, 4124, 2435, 4926, 4187, 2821, 4349, 4209, 3552, 4241, 4646, 5986, 6883, 5192,
      5692, 2324, 3065, 4119, 5756, 1250, 251
    ]
  )
  t.strictSame(
    sizesOf(createFastCdc(small), mixedBytes(100_000, 1)),
    [5220, 8192, 7712, 5755, 3941, 5958, 8192, 6221, 8192, 8192, 6288, 4373, 4596, 4586, 4690, 5429, 2463]
  )
  t.strictSame(sizesOf(createFastCdc(small), zeroBytes(20_000)), [8192, 8192, 3616])
  const profiles: Record<number, string> = {
    16: '226 b9809dc27797fae0',
    64: '57 6d46f7b6e7bbd903',
    128: '29 04e4ba86f7ff8f3c',
    256: '14 6ee0327e194fe74b'
  }
  const bytes = randomBytes(4 * 1024 * KiB, 2)
  for (const [size, expected] of Object.entries(profiles)) {
    const avg = Number(size) * KiB
    const ends = endsOf(createFastCdc({ min: avg / 4, avg, max: 2 * avg }), bytes)
    t.equal(
      `${ends.length} ${sha256(Buffer.from(ends.join())).slice(0, 16)}`,
      expected,
      `average ${size} KiB`
    )
  }
  t.end()
})

await t.test('FastCDC finds what its definition says', (t) => {
  const settings: FastCdcOptions[] = [
    { min: 512, avg: 512, max: 512 },
    { min: 512, avg: 512, max: 2048 },
    { min: 512, avg: 1024, max: 1024 },
    { min: 512, avg: 3000, max: 5000 },
    small
  ]
  for (const options of settings) {
    const find = createFastCdc(options)
    const bytes = Buffer.concat([randomBytes(20_000, 3), textBytes(20_000, 4), zeroBytes(10_001)])
    const wrong: number[] = []
    for (let start = 0; start < bytes.length; start = slowBoundary(bytes, start, options))
      if (find(bytes, start, bytes.length, true) !== slowBoundary(bytes, start, options)) wrong.push(start)
    t.strictSame(wrong, [], JSON.stringify(options))
  }
  t.end()
})

await t.test('FastCDC keeps to the smallest and the largest size', (t) => {
  for (const seed of [5, 6, 7]) {
    const sizes = sizesOf(createFastCdc(small), mixedBytes(300_000, seed))
    const last = sizes.pop() ?? 0
    t.equal(sizes.filter((size) => size <= small.min || size > small.max).length, 0)
    t.ok(last > 0 && last <= small.max, 'the last one may be smaller')
  }
  const sizes = sizesOf(createFastCdc(small), randomBytes(2_000_000, 8))
  const mean = 2_000_000 / sizes.length
  t.ok(mean > 3.5 * KiB && mean < 5 * KiB, `the mean of random data, ${mean}, is near the average`)
  t.end()
})

await t.test('FastCDC boundaries do not depend on how many bytes are there yet', (t) => {
  const find = createFastCdc(small)
  const bytes = mixedBytes(200_000, 9)
  const expected = endsOf(find, bytes)
  const random = createRandom(10)
  for (let round = 0; round < 20; round++) {
    const ends: number[] = []
    let start = 0
    for (let known = 0; start < bytes.length;) {
      const end = find(bytes, start, known, known === bytes.length)
      if (end === -1) {
        known = Math.min(bytes.length, known + 1 + random.below(5000))
      } else {
        ends.push(end)
        start = end
      }
    }
    if (ends.join() !== expected.join()) t.fail(`round ${round} differs`)
  }
  t.equal(find(bytes, 0, KiB, false), -1, 'too few bytes to tell')
  t.equal(find(bytes, 0, KiB, true), KiB)
  t.equal(find(bytes, 5, 5, true), -1, 'nothing is no chunk')
  t.equal(find(zeroBytes(8 * KiB), 0, 8 * KiB - 1, false), -1, 'no cut before the largest size')
  t.equal(find(zeroBytes(8 * KiB), 0, 8 * KiB, false), 8 * KiB)
  t.end()
})

await t.test('FastCDC boundaries come back after bytes were put in front', (t) => {
  const find = createFastCdc(small)
  for (const [seed, count] of [
    [11, 1],
    [12, 31],
    [13, 777],
    [14, 4096],
    [15, 100_000]
  ] as const) {
    const bytes = randomBytes(200_000, seed)
    const before = endsOf(find, bytes)
    const after = endsOf(find, Buffer.concat([randomBytes(count, seed + 100), bytes])).map(
      (end) => end - count
    )
    const first = before.findIndex((end) => after.includes(end))
    t.ok(first !== -1 && (before[first] ?? 0) < 64 * KiB, `${count} bytes: back at ${before[first] ?? -1}`)
    t.strictSame(after.slice(after.indexOf(before[first] ?? 0)), before.slice(first))
  }
  t.end()
})

await t.test('fixed chunks', (t) => {
  const find = createFixed(1000)
  const bytes = zeroBytes(3500)
  t.strictSame(sizesOf(find, bytes), [1000, 1000, 1000, 500])
  t.strictSame(sizesOf(find, bytes.subarray(0, 3000)), [1000, 1000, 1000])
  t.equal(find(bytes, 0, 999, false), -1)
  t.equal(find(bytes, 0, 999, true), 999)
  t.equal(find(bytes, 7, 1007, false), 1007)
  t.equal(find(bytes, 7, 7, true), -1)
  t.end()
})

await t.test('isZero looks at every byte', (t) => {
  t.equal(isZero(new Uint8Array(0)), true)
  for (const size of [1, 2, 63, 65_535, 65_536, 65_537, 200_000]) {
    const bytes = new Uint8Array(size)
    t.equal(isZero(bytes), true, `${size} zeros`)
    const missed: number[] = []
    const step = size < 100 ? 1 : 4093
    for (let at = 0; at < size; at = at === size - 1 ? size : Math.min(at + step, size - 1)) {
      bytes[at] = 0x80
      if (isZero(bytes)) missed.push(at)
      bytes[at] = 0
    }
    t.strictSame(missed, [], `one set bit among ${size}`)
  }
  const around = Buffer.concat([Buffer.of(1), zeroBytes(70_000), Buffer.of(1)])
  t.equal(isZero(around.subarray(1, -1)), true, 'a view does not look beside itself')
  t.equal(isZero(new Uint8Array(new SharedArrayBuffer(70_000))), true, 'shared memory')
  t.end()
})
