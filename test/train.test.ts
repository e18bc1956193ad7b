import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t from 'tap'
import { bindings } from '../lib/compression/bindings.js'
import { formattedMagic } from '../lib/compression/zstd-dictionary.js'
import { SourceError } from '../lib/errors.js'
import { train, type SourceLike } from '../lib/index.js'
import type { Source } from '../lib/source/source.js'
import { trainOn } from '../lib/train.js'
import { cutEvery, phraseBytes, randomBytes, zeroBytes } from './helpers/data.js'
import { rejected } from './helpers/errors.js'
import { scratch } from './helpers/run-cli.js'

const KiB = 1024
const MiB = 1024 * KiB
const phrases = phraseBytes(4.5 * MiB, 1)

/** The reason that a signal has, unless another is given. */
const aborted = 'DOMException: This operation was aborted'

const openCount = (): number => readdirSync('/proc/self/fd').length

await t.test(
  'a dictionary of a file: raw content, of the size asked for, the same on any number of threads',
  async (t) => {
    const path = join(scratch(t), 'phrases')
    writeFileSync(path, phrases)
    const before = openCount()
    const one = await train({ sources: [path], concurrency: 1 })
    const three = await train({ sources: [path], concurrency: 3 })
    t.equal(openCount(), before, 'everything is closed again')
    t.ok(Buffer.from(one.bytes).equals(three.bytes))
    t.ok(one.bytes.length > 100 * KiB && one.bytes.length <= 110 * KiB, `${one.bytes.length} bytes`)
    t.not(Buffer.from(one.bytes).readUInt32LE(), formattedMagic)
    t.ok(one.sampleCount >= 64, `${one.sampleCount} samples`)

    const block = phraseBytes(64 * KiB, 99) // not one that it has seen
    const size = (dictionary: Buffer | null): number =>
      new bindings.zstd.Encoder(3, dictionary).encodeSync(block).length
    const [plain, helped] = [size(null), size(Buffer.from(one.bytes))]
    t.ok(helped < 0.9 * plain, `${plain} to ${helped}`)
    t.ok(one.gain > 0, `gain ${one.gain}`)

    const small = await train({ sources: [path], size: 4 * KiB, level: 1, concurrency: 2 })
    t.ok(small.bytes.length <= 4 * KiB && small.bytes.length > 2 * KiB, `${small.bytes.length} bytes`)
  }
)

await t.test('many sources count as one, however small; pipes and files alike', async (t) => {
  const folder = scratch(t)
  const pieces = cutEvery(phrases, 50_000)
  const paths = pieces.map((piece, i) => {
    const path = join(folder, String(i))
    writeFileSync(path, piece)
    return path
  })
  writeFileSync(join(folder, 'all'), phrases)
  const bytesOf = async (sources: readonly SourceLike[]): Promise<Buffer> =>
    Buffer.from((await train({ sources, concurrency: 2 })).bytes)
  const expected = await bytesOf([join(folder, 'all')])
  t.ok((await bytesOf(paths)).equals(expected), `${paths.length} files`)
  const half = phrases.subarray(0, 50_000 * 40)
  writeFileSync(join(folder, 'half'), half)
  const rest = Readable.from(cutEvery(phrases.subarray(half.length), 100_001))
  t.ok((await bytesOf([join(folder, 'half'), rest])).equals(expected), 'a file and a stream')
})

await t.test('a stream that is longer than what is kept of it', async (t) => {
  function* long(): Generator<Buffer> {
    for (let i = 0; i < 40; i++) yield phraseBytes(MiB, i)
  }
  const { gain, sampleCount } = await train({ sources: [Readable.from(long())], concurrency: 2 })
  t.ok(gain > 0 && sampleCount > 500, `gain ${gain} from ${sampleCount} samples`)
})

await t.test('what cannot be trained on', async (t) => {
  const of = (...sources: Buffer[]): Promise<string> =>
    rejected(train({ sources: sources.map((bytes) => Readable.from(cutEvery(bytes, MiB))), concurrency: 1 }))
  const told = (reason: string): string =>
    `SourceError SOURCE_UNSUITABLE: no dictionary can be trained on the sources: ${reason}`
  t.equal(await of(Buffer.alloc(0)), told('they have 0 bytes, and 4194304 (4 MiB) is the least'))
  t.equal(
    await of(phrases.subarray(0, 2 * MiB), phrases.subarray(0, 2 * MiB - 1)),
    told('they have 4194303 bytes, and 4194304 (4 MiB) is the least')
  )
  const useless = told('too little of the source compresses, or it repeats and is stored once anyway')
  t.equal(await of(randomBytes(4 * MiB, 1)), useless)
  t.equal(await of(zeroBytes(8 * MiB)), useless)
  t.equal(await of(...Array.from({ length: 5 }, () => Buffer.alloc(MiB, 'the same'))), useless)
})

await t.test('settings out of range are told before anything is opened', async (t) => {
  const sources = ['/nowhere']
  const range = 'UsageError USAGE: a dictionary has 1K to 1M, not'
  for (const size of [0, 1023, MiB + 1, 2000.5, NaN])
    t.equal(await rejected(train({ sources, size })), `${range} ${size} bytes`)
  for (const level of [0, 20, 1.5])
    t.equal(
      await rejected(train({ sources, level })),
      `UsageError USAGE: level ${level} is out of range: Zstd has 1 to 19`
    )
  t.match(await rejected(train({ sources: [] })), /^UsageError USAGE: there is no source to train on/)
  t.match(
    await rejected(train({ sources: new Array<string>(1001).fill('/nowhere') })),
    /^UsageError USAGE: 1001 sources are named, and 1000 is the most/
  )
  t.equal(await rejected(train({ sources })), 'SourceError SOURCE_MISSING: /nowhere does not exist')
})

/** A source that can be read anywhere, and fails where it is told to. */
function countedSource(
  size: number,
  readAt: (offset: number, into: Uint8Array) => Promise<void>
): Source & { closed: number } {
  const source = {
    name: 'counted',
    size,
    closed: 0,
    readAt,
    async *read(): AsyncGenerator<Uint8Array, void> {
      yield await Promise.reject<Uint8Array>(new Error('it is sampled, not read'))
    },
    close: () => {
      source.closed += 1
      return Promise.resolve()
    }
  }
  return source
}

await t.test('a source that fails, and an abort, close all of them', async (t) => {
  const broken = new SourceError('SOURCE_UNREADABLE', 'the disk is broken')
  const good = countedSource(64 * MiB, () => Promise.resolve())
  const bad = countedSource(64 * MiB, (offset) =>
    offset > 32 * MiB ? Promise.reject(broken) : Promise.resolve()
  )
  t.equal(
    await rejected(trainOn([good, bad], { concurrency: 1 })),
    'SourceError SOURCE_UNREADABLE: the disk is broken'
  )
  t.ok(good.closed > 0 && bad.closed > 0)

  const controller = new AbortController()
  const silent = new Readable({ read: () => undefined })
  const other = countedSource(64 * MiB, () => Promise.resolve())
  const done = rejected(train({ sources: [silent], signal: controller.signal }))
  const also = rejected(
    trainOn([other, countedSource(64 * MiB, () => new Promise(() => undefined))], {
      signal: controller.signal
    })
  )
  setImmediate(() => controller.abort())
  t.equal(await done, aborted, 'while a pipe has nothing to say')
  t.equal(silent.destroyed, true)
  t.equal(await also, aborted, 'while a disk does not answer')
  t.ok(other.closed > 0)
  t.equal(await rejected(trainOn([other], { signal: AbortSignal.abort() })), aborted)
})

await t.test('an abort while it is trained', async (t) => {
  const controller = new AbortController()
  let reads = 0
  const source = countedSource(phrases.length, (offset, into) => {
    into.set(phrases.subarray(offset, offset + into.length))
    reads += 1
    if (reads === 200) setImmediate(() => controller.abort())
    return Promise.resolve()
  })
  t.equal(await rejected(trainOn([source], { concurrency: 1, signal: controller.signal })), aborted)
  t.ok(source.closed > 0)
})
