import { createReadStream, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { SourceError } from '../../lib/errors.js'
import { predict, type PredictedBuild, type Prediction } from '../../lib/index.js'
import { predictLimits } from '../../lib/limits.js'
import { predictSource } from '../../lib/predict.js'
import { planRegions, readBatches, type Region } from '../../lib/prediction/batches.js'
import { chunkSizeMax } from '../../lib/prediction/ways.js'
import { iterableSource } from '../../lib/source/iterable-source.js'
import type { Source } from '../../lib/source/source.js'
import { buildInMemory } from '../helpers/build.js'
import {
  cutEvery,
  cutRandomly,
  mixedBytes,
  phraseBytes,
  randomBytes,
  textBytes,
  zeroBytes
} from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { scratch } from '../helpers/run-cli.js'

const KiB = 1024
const MiB = 1024 * KiB

/**
 * Holds predictions to what a build then gives: shares exactly, the size within `tolerance`, or 10 % where there is a
 * dictionary.
 */
async function compare(
  t: Test,
  bytes: Buffer,
  builds: readonly PredictedBuild[],
  tolerance: number
): Promise<void> {
  for (const { profile, cdc, dictionary, ...build } of builds) {
    const options = { profile, cdc, dictionary: dictionary ? 'auto' : 'off', concurrency: 1 } as const
    const { file, totals } = await buildInMemory([cutEvery(bytes, MiB)], options)
    const name = `${profile}${cdc ? ' --cdc' : ''}${dictionary ? ' with dictionary' : ''}`
    const { holeSize, repeatSize } = totals.streams[0] ?? { holeSize: NaN, repeatSize: NaN }
    t.equal(Math.round(build.holeShare * bytes.length), holeSize, `${name}: holes`)
    t.equal(Math.round(build.repeatShare * bytes.length), repeatSize, `${name}: repeats`)
    const difference = build.storedSize / file.length - 1
    t.ok(
      Math.abs(difference) < (dictionary ? 0.1 : tolerance),
      `${name}: ${(100 * difference).toFixed(2)} % off`
    )
    t.equal(build.ratio, bytes.length / build.storedSize, `${name}: ratio`)
    t.ok(build.error >= 0 && build.error < 0.5 && build.speed > 0, `${name}: ± and speed`)
    if (dictionary && build.dictionaryPays)
      t.ok(totals.dictionary !== undefined, `${name}: a dictionary that pays is used`)
  }
}

/** Something of everything, with repeats that moved by a few bytes, and an odd end. */
const text = textBytes(1.5 * MiB, 1)
const source = Buffer.concat([
  text,
  zeroBytes(2 * MiB + 100),
  mixedBytes(4 * MiB, 2, 64 * KiB),
  phraseBytes(MiB, 3),
  randomBytes(MiB + 7, 4),
  text,
  zeroBytes(700_001)
])

await t.test('what is predicted is what is built', async (t) => {
  const path = join(scratch(t), 'disk.img')
  writeFileSync(path, source)
  const prediction = await predict({ source: path, concurrency: 2 })
  t.strictSame(
    [prediction.size, prediction.readSize, prediction.isWhole],
    [source.length, source.length, true]
  )
  t.strictSame(
    prediction.builds.map(
      ({ profile, cdc, dictionary }) => `${profile} ${String(cdc)} ${String(dictionary)}`
    ),
    ['generic', 'eda', 'embedded', 'ml'].flatMap((profile) =>
      [false, true].flatMap((cdc) =>
        (['eda', 'ml'].includes(profile) ? [false, true] : [false]).map(
          (dictionary) => `${profile} ${String(cdc)} ${String(dictionary)}`
        )
      )
    )
  )
  // Of a source this small, every chunk is tried.
  const plain = prediction.builds.filter(({ dictionary }) => !dictionary)
  await compare(t, source, plain, 0.02)
  t.ok(
    prediction.builds.every(({ storedSize }) => prediction.smallest.storedSize <= 1.005 * storedSize),
    'the smallest is'
  )
  t.ok(
    prediction.builds.every(({ speed }) => prediction.fastest.speed >= 0.9 * speed),
    'the fastest is'
  )

  const sizesOf = ({ builds }: Prediction): number[] =>
    builds.filter(({ dictionary }) => !dictionary).map(({ storedSize }) => storedSize)
  const streamed = await predict({ source: createReadStream(path), concurrency: 1 })
  const expected = sizesOf(prediction)
  t.ok(
    sizesOf(streamed).every((size, i) => Math.abs(size / (expected[i] ?? NaN) - 1) < 0.02),
    'a stream, and one thread, give about the same'
  )
  t.equal(streamed.isWhole, true)
})

await t.test('samples stand for the rest', async (t) => {
  // More than is tried of any of them: each MiB is as dense as it likes.
  const large = Buffer.concat(
    Array.from({ length: 14 }, (_, i) => {
      const random = randomBytes((i % 7) * 100 * KiB, i)
      return Buffer.concat([random, phraseBytes(MiB - random.length, i)])
    })
  )
  const prediction = await predictSource(iterableSource(Readable.from(cutEvery(large, MiB)), 'x'), {
    concurrency: 2
  })
  const tried = prediction.builds.filter(({ profile, dictionary }) => profile === 'embedded' && !dictionary)
  t.ok(
    tried.every(({ error }) => error > 0),
    'it does not claim to be sure'
  )
  for (const { cdc, storedSize } of tried) {
    const { file } = await buildInMemory([cutEvery(large, MiB)], { profile: 'embedded', cdc, concurrency: 1 })
    t.ok(Math.abs(storedSize / file.length - 1) < 0.1, `${storedSize}, built ${file.length}`)
  }
})

await t.test('a dictionary that pays', async (t) => {
  const phrases = phraseBytes(6 * MiB, 5)
  const prediction = await predict({ source: Readable.from(cutEvery(phrases, MiB)), concurrency: 2 })
  const [plain, withDictionary] = prediction.builds.filter(({ profile, cdc }) => profile === 'eda' && !cdc)
  t.equal(withDictionary?.dictionaryPays, true)
  t.ok((withDictionary?.storedSize ?? NaN) < (plain?.storedSize ?? 0))
  await compare(
    t,
    phrases,
    [plain, withDictionary].filter((build) => build !== undefined),
    0.02
  )
})

const isOfEmbedded = ({ profile, cdc }: PredictedBuild): boolean => profile === 'embedded' && !cdc

await t.test('sources of nothing, of zeros, of little', async (t) => {
  const of = (bytes: Buffer): Promise<Prediction> =>
    predict({ source: Readable.from(cutEvery(bytes, 1000)), concurrency: 1 })
  const empty = await of(Buffer.alloc(0))
  t.strictSame([empty.size, empty.readSize, empty.isWhole], [0, 0, true])
  t.ok(empty.builds.every(({ ratio, holeShare, speed }) => ratio === 0 && holeShare === 0 && speed === 0))
  for (const bytes of [Buffer.from('x'), zeroBytes(MiB + 1), randomBytes(70_000, 1)])
    await compare(t, bytes, (await of(bytes)).builds.filter(isOfEmbedded), 0.1)
})

/** Bytes made up as they are read; of a large device, say. */
function madeUpSource(
  size: number,
  fill: (offset: number, into: Uint8Array) => void
): Source & { reads: number[] } {
  const reads: number[] = []
  return {
    name: 'made up',
    size,
    reads,
    readAt(offset, into) {
      reads.push(offset)
      fill(offset, into)
      return Promise.resolve()
    },
    read: () => {
      throw new Error('it is too large to be read whole')
    },
    close: () => Promise.resolve()
  }
}

const { readSizeMax, regionSize, batchSize } = predictLimits

await t.test('of what is larger than the limit, regions all over it are read', (t) => {
  const readAt = (): Promise<void> => Promise.resolve()
  t.strictSame(planRegions({ size: readSizeMax, readAt }), [{ start: 0, size: readSizeMax }])
  t.equal(planRegions({ size: undefined, readAt }), undefined)
  t.equal(planRegions({ size: 0, readAt }), undefined)
  t.equal(planRegions({ size: 100 }), undefined)
  for (const size of [readSizeMax + 1, 10 * readSizeMax + 12_345, 2 ** 45]) {
    const regions = planRegions({ size, readAt }) ?? []
    t.equal(regions.length * regionSize, readSizeMax, `${size}: as much as may be`)
    t.ok(
      regions.every(
        ({ start, size }, i) =>
          size === regionSize &&
          start % chunkSizeMax === 0 &&
          start - (regions[i - 1]?.start ?? -regionSize) >= regionSize
      ),
      `${size}: side by side at most`
    )
    const last = regions.at(-1)?.start ?? 0
    t.equal(regions[0]?.start, 0)
    t.ok(last + 2 * regionSize > size && last + regionSize <= size, `${size}: to the end`)
  }
  t.end()
})

/** Batches, their bytes copied. */
async function batchesOf(
  source: Source,
  regions?: readonly Region[]
): Promise<{ bytes: Buffer; head: Buffer; isLast: boolean }[]> {
  const found: { bytes: Buffer; head: Buffer; isLast: boolean }[] = []
  for await (const { bytes, headSize, isLast, release } of readBatches(source, regions, () => undefined)) {
    found.push({
      bytes: Buffer.from(bytes.subarray(headSize)),
      head: Buffer.from(bytes.subarray(0, headSize)),
      isLast
    })
    release()
  }
  return found
}

await t.test('batches carry what came before them', async (t) => {
  const bytes = randomBytes(2 * batchSize + 5, 1)
  const found = await batchesOf(iterableSource(Readable.from(cutRandomly(bytes, 2, MiB)), 'x'))
  t.ok(Buffer.concat(found.map((batch) => batch.bytes)).equals(bytes))
  t.strictSame(
    found.map(({ isLast }) => isLast),
    [false, false, true]
  )
  t.ok(found[1]?.head.equals(bytes.subarray(batchSize - chunkSizeMax, batchSize)))
  t.equal(found[0]?.head.length, 0)

  const made = madeUpSource(readSizeMax + 1, (offset, into) => into.fill(offset / batchSize + 1, 0, 10))
  const regions = await batchesOf(
    made,
    [0, 8 * regionSize].map((start) => ({ start, size: regionSize }))
  )
  t.equal(regions.length, (2 * regionSize) / batchSize)
  t.strictSame(
    regions.map(({ bytes, head, isLast }) => [bytes[0], bytes[10], head.length, isLast]),
    [0, 8].flatMap((at) => [0, 1, 2, 3].map((i) => [at * 4 + i + 1, 0, i === 0 ? 0 : chunkSizeMax, i === 3])),
    'a region begins without a past, and what could not be read is zeros'
  )
})

await t.test('a source that fails, and an abort', async (t) => {
  const broken = new SourceError('SOURCE_UNREADABLE', 'the disk is broken')
  let closed = 0
  const failing: Source = {
    name: 'x',
    size: undefined,
    async *read() {
      yield await Promise.resolve(randomBytes(3 * MiB, 1))
      throw broken
    },
    close: () => Promise.resolve(void (closed += 1))
  }
  t.equal(
    await rejected(predictSource(failing, { concurrency: 1 })),
    'SourceError SOURCE_UNREADABLE: the disk is broken'
  )
  t.equal(closed, 1)
  t.equal(
    await rejected(predict({ source: '/nowhere' })),
    'SourceError SOURCE_MISSING: /nowhere does not exist'
  )
  t.match(
    await rejected(predict({ source: Readable.from([]), concurrency: 65 })),
    /^UsageError USAGE: concurrency 65/
  )
  const aborted = /^(AbortError|DOMException): (This|The) operation was aborted$/
  const silent = (): Source => iterableSource(new Readable({ read: () => undefined }), 'x')
  const hanging: Source = {
    ...madeUpSource(100 * MiB, () => undefined),
    readAt: () => new Promise(() => undefined),
    read: (options) => silent().read(options)
  }
  for (const source of [silent(), hanging]) {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 50)
    t.match(await rejected(predictSource(source, { signal: controller.signal, concurrency: 1 })), aborted)
  }
  t.match(await rejected(predictSource(silent(), { signal: AbortSignal.abort(), concurrency: 1 })), aborted)
})
