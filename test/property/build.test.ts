import t from 'tap'
import { existsSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { build, type BuildOptions } from '../../lib/api.js'
import { buildStreams, type StreamSource } from '../../lib/build.js'
import type { SnapshotTotals } from '../../lib/format/index-writer.js'
import { openSnapshot } from '../../lib/reader/open-snapshot.js'
import type { Source } from '../../lib/source/source.js'
import type { Target } from '../../lib/target/target.js'
import { collector } from '../helpers/build.js'
import { difference, hex } from '../helpers/bytes.js'
import { cutEvery, mixedBytes, randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { memorySource } from '../helpers/snapshots.js'
import { settle } from '../helpers/streams.js'

/* What build() promises when something is wrong: the right error, nothing left behind, nothing left open. */

const folder = t.testdir({ existing: 'precious' })
const path = join(folder, 'source')
const bytes = mixedBytes(3_000_000, 1)
await writeFile(path, bytes)
const target = join(folder, 'out.st')
const here = ['existing', 'source']
const hasProc = existsSync('/proc/self/fd')

const openCount = async (): Promise<number> => (hasProc ? (await readdir('/proc/self/fd')).length : 0)

const failures: Record<string, [Partial<BuildOptions>, string]> = {
  'an unknown profile': [
    { profile: 'nope' },
    'UsageError USAGE: there is no profile "nope"; the profiles are generic, eda, embedded, ml'
  ],
  'a profile of another kind': [
    { profile: 'toString' },
    'UsageError USAGE: there is no profile "toString"; the profiles are generic, eda, embedded, ml'
  ],
  'no threads': [{ concurrency: 0 }, 'UsageError USAGE: concurrency 0 is not a whole number from 1 to 64'],
  'half a thread': [
    { concurrency: 1.5 },
    'UsageError USAGE: concurrency 1.5 is not a whole number from 1 to 64'
  ],
  'too many threads': [
    { concurrency: 65 },
    'UsageError USAGE: concurrency 65 is not a whole number from 1 to 64'
  ],
  'no number for the dedup memory': [
    { dedupMemory: NaN },
    "UsageError USAGE: the dedup table can't have NaN bytes"
  ],
  'negative dedup memory': [{ dedupMemory: -1 }, "UsageError USAGE: the dedup table can't have -1 bytes"],
  'a level for LZ4': [{ level: 3 }, 'UsageError USAGE: lz4 has no levels; leave the level out, or use zstd'],
  'level 0': [{ codec: 'zstd', level: 0 }, 'UsageError USAGE: level 0 is out of range: Zstd has 1 to 19'],
  'level 20': [{ codec: 'zstd', level: 20 }, 'UsageError USAGE: level 20 is out of range: Zstd has 1 to 19'],
  'level 2.5': [
    { codec: 'zstd', level: 2.5 },
    'UsageError USAGE: level 2.5 is out of range: Zstd has 1 to 19'
  ],
  'a chunk of 100 bytes': [
    { chunkSize: 100 },
    'UsageError USAGE: chunk sizes must be whole numbers from 512 bytes to 4 MiB; these are 100, 100, 100'
  ],
  'a smallest chunk without cdc': [
    { chunkSizeMin: 1000 },
    'UsageError USAGE: smallest and largest chunk size apply to content-defined chunking; option cdc turns it on'
  ],
  'a smallest chunk above the average': [
    { cdc: true, chunkSize: 1000, chunkSizeMin: 1001 },
    'UsageError USAGE: chunk sizes must rise: smallest 1001, average 1000, largest 2000 do not'
  ],
  'a source that is too short': [
    { expectSize: 3_000_001 },
    `SourceError SOURCE_SHORT: ${path} ended after 3000000 of 3000001 bytes`
  ],
  'a missing memory image': [
    { memory: join(folder, 'none') },
    `SourceError SOURCE_MISSING: ${join(folder, 'none')} does not exist`
  ],
  'a missing source': [
    { source: join(folder, 'none') },
    `SourceError SOURCE_MISSING: ${join(folder, 'none')} does not exist`
  ],
  'an existing target': [
    { target: join(folder, 'existing') },
    `TargetError TARGET_EXISTS: ${join(folder, 'existing')} exists already; option force replaces it`
  ],
  'the source as target': [
    { target: path, force: true },
    `TargetError TARGET_IS_SOURCE: ${path} is the same file as the source ${path}; choose another target`
  ],
  'the memory image as target': [
    { memory: join(folder, 'existing'), target: join(folder, 'existing'), force: true },
    `TargetError TARGET_IS_SOURCE: ${join(folder, 'existing')} is the same file as the source ${join(folder, 'existing')}; choose another target`
  ],
  'an abort before it starts': [{ signal: AbortSignal.abort() }, 'AbortError: The operation was aborted']
}

const isSettings = (message: string): boolean => /profile|level|smallest|chunk/.test(message)

await rejected(build({ source: path, target, expectSize: 5 })) // what is loaded once stays open
for (const [name, [options, message]] of Object.entries(failures))
  await t.test(`build: ${name}`, async (t) => {
    const before = await openCount()
    t.equal(await rejected(build({ source: path, target, concurrency: 1, ...options })), message)
    t.strictSame(await readdir(folder), here)
    t.equal(await openCount(), before, 'no file stays open')
    const stream = new PassThrough()
    if (options.target === undefined) {
      t.equal(await rejected(build({ source: path, concurrency: 1, ...options, target: stream })), message)
      t.equal(stream.writableEnded, false, 'a stream is not ended')
      // Wrong settings are told before the target is touched; later it is destroyed.
      t.equal(stream.destroyed, !isSettings(message))
    }
  })

await t.test('build: an abort in the middle, and a progress listener that throws', async (t) => {
  const controller = new AbortController()
  const options = { source: path, target, concurrency: 1, chunkSize: 512 }
  const aborted = build({ ...options, onProgress: () => controller.abort(), signal: controller.signal })
  t.equal(await rejected(aborted), 'AbortError: The operation was aborted')
  t.strictSame(await readdir(folder), here)
  const onProgress = (): never => {
    throw new Error('the display is broken')
  }
  t.equal(await rejected(build({ ...options, onProgress })), 'Error: the display is broken')
  t.strictSame(await readdir(folder), here)
})

await t.test('build: a source stream that fails in the middle', async (t) => {
  function* pieces(): Generator<Uint8Array> {
    yield* cutEvery(bytes, 100_000)
    throw new Error('the line is dead')
  }
  const source = Readable.from(pieces())
  t.equal(
    await rejected(build({ source, target, concurrency: 1 })),
    "SourceError SOURCE_UNREADABLE: the source stream can't be read: the line is dead"
  )
  t.strictSame(await readdir(folder), here)
})

/** A source and a target that tell what is done to them. */
function tracked(name: string, fail = false): { stream: StreamSource; events: string[] } {
  const events: string[] = []
  const source: Source = {
    name,
    size: undefined,
    async *read() {
      events.push('read')
      yield await Promise.resolve(randomBytes(1000, 1))
      if (fail) throw new Error('no more')
    },
    close() {
      events.push('close')
      return Promise.resolve()
    }
  }
  return { stream: { name, source }, events }
}
function trackedTarget(): Target & { events: string[] } {
  const events: string[] = []
  const log = (event: string) => (): Promise<void> => Promise.resolve(void events.push(event))
  return { name: 'x', events, write: log('write'), commit: log('commit'), discard: log('discard') }
}

await t.test('buildStreams: closes every source, commits or discards the target', async (t) => {
  const [good, other, to] = [tracked('disk'), tracked('memory'), trackedTarget()]
  await buildStreams([good.stream, other.stream], to, { concurrency: 1 })
  for (const { events } of [good, other]) t.strictSame(events.slice(0, 2), ['read', 'close'])
  t.equal(
    to.events.indexOf('commit') < to.events.indexOf('discard'),
    true,
    'a discard after the commit is harmless'
  )
  t.equal(to.events.filter((event) => event === 'commit').length, 1)

  const [bad, unread, toNothing] = [tracked('disk', true), tracked('memory'), trackedTarget()]
  const failed = buildStreams([bad.stream, unread.stream], toNothing, { concurrency: 1 })
  t.equal(await rejected(failed), 'Error: no more')
  t.ok(bad.events.includes('close'))
  t.strictSame(unread.events, ['close'], 'also the one that was not come to')
  t.notOk(toNothing.events.includes('commit'))
  t.ok(toNothing.events.includes('discard'))
})

await t.test('buildStreams: names that cannot be', async (t) => {
  const of = async (...names: string[]): Promise<string> => {
    const [to, sources] = [trackedTarget(), names.map((name) => tracked(name))]
    const message = await rejected(
      buildStreams(
        sources.map(({ stream }) => stream),
        to,
        { concurrency: 1 }
      )
    )
    await settle()
    t.strictSame(to.events, ['discard'])
    for (const { events } of sources) t.strictSame(events, ['close'])
    return message
  }
  t.equal(await of('disk', 'disk'), 'UsageError USAGE: there are two streams named "disk"')
  t.equal(await of('Disk'), 'UsageError USAGE: "Disk" is not a stream name: use up to 64 of a-z 0-9 . _ -')
  t.match(await of('a'.repeat(65)), /^UsageError USAGE: "a+" is not a stream name/)
  t.match(await of('../x'), /^UsageError USAGE: "\.\.\/x" is not a stream name/)
  t.equal(await of(), 'LimitError LIMIT: a snapshot holds 1 to 16 streams, not 0')
  t.equal(
    await of(...Array.from({ length: 17 }, (_, i) => `s${i}`)),
    'LimitError LIMIT: a snapshot holds 1 to 16 streams, not 17'
  )
})

await t.test('buildStreams: sixteen streams', async (t) => {
  const sources = Array.from({ length: 16 }, (_, i) => tracked(`s${i}`).stream)
  const { stream, bytes: file } = collector()
  const { writableTarget } = await import('../../lib/target/writable-target.js')
  await buildStreams(sources, writableTarget(stream), { concurrency: 1 })
  const snapshot = await openSnapshot(memorySource(file()))
  t.equal(difference(await snapshot.read('s15', 0, 1000), randomBytes(1000, 1)), 'equal')
  t.strictSame(
    snapshot.streams.map(({ repeatCount }) => repeatCount),
    [0, ...Array<number>(15).fill(1)]
  )
})

await t.test('build: totals, progress and the file agree', async (t) => {
  const progress: SnapshotTotals[] = []
  const { stream, bytes: file } = collector()
  const totals = await build({
    source: Readable.from(cutEvery(bytes, 300_000)),
    memory: Readable.from([bytes.subarray(0, 500_000)]),
    target: stream,
    concurrency: 2,
    onProgress: (sofar) => progress.push(sofar)
  })
  t.equal(stream.writableFinished, true)
  t.equal(totals.fileSize, file().length)
  const snapshot = await openSnapshot(memorySource(file()))
  t.equal(hex(snapshot.digest), hex(totals.snapshotDigest ?? Buffer.of()))
  t.strictSame(snapshot.streams, totals.streams)
  t.strictSame(
    totals.streams.map(({ name, size }) => [name, size]),
    [
      ['disk', 3_000_000],
      ['memory', 500_000]
    ]
  )
  t.ok(progress.length >= 3, `${progress.length} times progress`)
  const sizes = progress.map(({ fileSize }) => fileSize)
  t.strictSame(
    sizes,
    [...sizes].sort((a, b) => a - b)
  )
  t.ok(sizes.every((size) => size < totals.fileSize))
})
