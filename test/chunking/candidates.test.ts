import t from 'tap'
import { createCutter, findCandidates, type Cutter } from '../../lib/chunking/candidates.js'
import { createFastCdc, cutBits, type FastCdcOptions } from '../../lib/chunking/fastcdc.js'
import { createRandom, mixedBytes, phraseBytes, randomBytes, zeroBytes } from '../helpers/data.js'

const KiB = 1024

/** The ends of the chunks as `build` cuts them. */
function cutsOf(bytes: Uint8Array, options: FastCdcOptions): number[] {
  const find = createFastCdc(options)
  const cuts: number[] = []
  for (let at = find(bytes, 0, bytes.length, true); at !== -1; at = find(bytes, at, bytes.length, true))
    cuts.push(at)
  return cuts
}

/** The same, found in batches of random sizes; each sees the 32 bytes before it. */
function cutsInBatches(bytes: Uint8Array, cutter: Cutter, levelMin: number, seed: number): number[] {
  const random = createRandom(seed)
  const cuts: number[] = []
  for (let start = 0; start < bytes.length;) {
    const end = Math.min(bytes.length, start + 1 + random.below(200 * KiB))
    const head = Math.max(0, start - 32)
    const candidates = findCandidates(bytes.subarray(head, end), start - head, levelMin)
    const found = cutter.cut(candidates, head, end, end === bytes.length)
    t.equal(found.start, cuts.at(-1) ?? 0, 'goes on where the last chunk ended')
    cuts.push(...found.cuts)
    start = end
  }
  return cuts
}

const sources: Record<string, Buffer> = {
  random: randomBytes(1_500_001, 1),
  phrases: phraseBytes(1_000_000, 2),
  mixed: mixedBytes(2_000_003, 3, 16 * KiB),
  zeros: zeroBytes(700_000),
  'zeros between': Buffer.concat([randomBytes(90_001, 4), zeroBytes(400_007), randomBytes(90_003, 5)]),
  'one byte': Buffer.alloc(1, 7),
  'one value': Buffer.alloc(300_000, 7)
}

const sizes: readonly FastCdcOptions[] = [
  { min: 1 * KiB, avg: 4 * KiB, max: 8 * KiB },
  { min: 4 * KiB, avg: 16 * KiB, max: 32 * KiB },
  { min: 64 * KiB, avg: 64 * KiB, max: 64 * KiB },
  { min: 512, avg: 3000, max: 100_000 }
]

await t.test('cuts chosen among candidates are those of FastCDC, for each size, however batched', (t) => {
  for (const [name, bytes] of Object.entries(sources))
    for (const [i, options] of sizes.entries()) {
      const expected = cutsOf(bytes, options)
      const { loose } = cutBits(options.avg)
      for (const levelMin of new Set([8, loose]))
        t.strictSame(
          cutsInBatches(bytes, createCutter(options, 0), levelMin, i),
          expected,
          `${name}, ${options.avg}, candidates of ${levelMin} bits`
        )
    }
  t.end()
})

await t.test('a stream may begin anywhere', (t) => {
  const bytes = randomBytes(200_000, 9)
  const [options] = sizes
  if (options === undefined) throw new Error('no sizes')
  const cutter = createCutter(options, 1_000_000)
  const { start, cuts } = cutter.cut(findCandidates(bytes, 0, 8), 1_000_000, 1_200_000, true)
  t.equal(start, 1_000_000)
  t.strictSame(
    cuts.map((cut) => cut - 1_000_000),
    cutsOf(bytes, options)
  )
  t.end()
})
