import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { buildStreams } from '../../lib/build.js'
import type { DictionaryOutcome } from '../../lib/compression/dictionary.js'
import { blake3 } from '../../lib/format/digest.js'
import type { DictionaryRecord, FilteredBatch } from '../../lib/records.js'
import { openSource } from '../../lib/source/file-source.js'
import { iterableSource } from '../../lib/source/iterable-source.js'
import type { Source } from '../../lib/source/source.js'
import { openTarget } from '../../lib/target/target.js'
import { writableTarget } from '../../lib/target/writable-target.js'
import { createWorkerPool } from '../../lib/workers/pool.js'
import { dictionarySampler } from '../../transforms/index.js'
import { collector } from '../helpers/build.js'
import { cutEvery, phraseBytes, randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { scratch } from '../helpers/run-cli.js'
import { failingSink, runStage, settle } from '../helpers/streams.js'

/*
 * The sampler with a dictionary to make: what it holds comes out behind it, and when anything fails while it holds
 * or trains, everything is closed and nothing is left.
 */

const KiB = 1024
const MiB = 1024 * KiB
const chunkSize = 16 * KiB
const phrases = phraseBytes(2 * MiB, 1)

/** A batch of four chunks: unique ones of the phrases, or one repeat and one hole. */
function batch(number: number): FilteredBatch {
  const bytes = phrases.subarray(number * 4 * chunkSize, (number + 1) * 4 * chunkSize)
  const chunks = cutEvery(bytes, chunkSize).map((chunk, i) => ({
    kind: 'unique' as const,
    start: i * chunkSize,
    rawSize: chunk.length,
    digest: blake3(chunk)
  }))
  return { kind: 'filtered', stream: 0, streamOffset: number * bytes.length, bytes, chunks }
}

const batches = Array.from({ length: 32 }, (_, i) => batch(i))
const withoutUnique = (number: number): FilteredBatch => ({
  ...batch(number),
  chunks: [
    { kind: 'repeat', ordinal: 0, rawSize: 2 * chunkSize, digest: Buffer.alloc(32) },
    { kind: 'hole', rawSize: 2 * chunkSize }
  ]
})

type Output = FilteredBatch | DictionaryRecord

await t.test('of a pipe: the dictionary, then what was held, then the rest, in order', async (t) => {
  const inputs = [withoutUnique(0), ...batches.slice(0, 2), withoutUnique(2), ...batches.slice(2)]
  for (const windowSize of [1.5 * MiB, 64 * MiB]) {
    const outcomes: DictionaryOutcome[] = []
    const onDictionary = (outcome: DictionaryOutcome): void => void outcomes.push(outcome)
    const sampler = dictionarySampler({ mode: 'always', chunkSize, windowSize, onDictionary })
    const outputs = await runStage<Output>(inputs, sampler)
    t.strictSame(
      outputs.map(({ kind }) => kind),
      ['filtered', 'dictionary', ...inputs.slice(1).map(() => 'filtered')],
      `window ${windowSize}: at its place`
    )
    const passed = outputs.filter((record): record is FilteredBatch => record.kind === 'filtered')
    passed.forEach(({ streamOffset, chunks, bytes }, i) => {
      const input = inputs[i]
      t.strictSame([streamOffset, chunks], [input?.streamOffset, input?.chunks], `batch ${i}`)
      if (chunks.some(({ kind }) => kind === 'unique'))
        t.ok(Buffer.from(bytes).equals(input?.bytes ?? Buffer.alloc(0)), `batch ${i}: its bytes`)
    })
    t.strictSame(
      outcomes.map(({ kind }) => kind),
      ['used']
    )
  }
})

await t.test(
  'bytes of holes and repeats are given back while they wait, those of chunks are not',
  async (t) => {
    let released = 0
    const release = (): void => void (released += 1)
    const inputs = [...batches.slice(0, 3), withoutUnique(3), withoutUnique(4)]
    const sampler = dictionarySampler({
      mode: 'auto',
      chunkSize,
      onDictionary(outcome) {
        t.equal(released, 2)
        t.strictSame(outcome, { kind: 'none', reason: 'there is too little to train it on' })
      }
    })
    const outputs = await runStage<Output>(
      inputs.map((record) => ({ ...record, release })),
      sampler
    )
    t.equal(outputs.length, 5)
  }
)

await t.test('a sink that fails while batches are held', async (t) => {
  let isClosed = false
  function* source(): Generator<FilteredBatch> {
    try {
      yield withoutUnique(0)
      for (let i = 0; ; i++) yield batches[i % batches.length] ?? batch(0)
    } finally {
      isClosed = true
    }
  }
  for (const [taken, mode] of [
    [0, 'auto'],
    [3, 'always']
  ] as const) {
    isClosed = false
    const sampler = dictionarySampler({ mode, chunkSize, windowSize: 1.5 * MiB })
    const input = Readable.from(source(), { objectMode: true, highWaterMark: 1 })
    const done = pipeline(input, sampler, failingSink(taken, new Error('the sink fails')))
    t.equal(await rejected(done), 'Error: the sink fails', `after ${taken}`)
    await settle()
    t.strictSame([isClosed, sampler.destroyed], [true, true])
  }
})

await t.test('an abort while it trains, and a source that dies while it holds', async (t) => {
  const pool = createWorkerPool(1)
  t.teardown(() => pool.close())
  const controller = new AbortController()
  const sampler = dictionarySampler({ mode: 'always', chunkSize, windowSize: 1.5 * MiB, pool })
  let given = 0
  function* source(): Generator<FilteredBatch> {
    for (const record of batches) {
      given += 1
      if (given === 24) setTimeout(() => controller.abort(), 20) // as much as the window: it trains then
      yield record
    }
  }
  const input = Readable.from(source(), { objectMode: true, highWaterMark: 1 })
  const done = pipeline(input, sampler, failingSink(0, new Error('nothing comes out')), {
    signal: controller.signal
  })
  t.equal(await rejected(done), 'AbortError: The operation was aborted')

  function* dying(): Generator<FilteredBatch> {
    yield* batches.slice(0, 5)
    throw new Error('the source dies')
  }
  const held = dictionarySampler({ mode: 'always', chunkSize, pool })
  t.equal(
    await rejected(pipeline(Readable.from(dying()), held, failingSink(0, new Error('nothing comes out')))),
    'Error: the source dies'
  )
})

/** What is open in this process. */
const openCount = (): number => readdirSync('/proc/self/fd').length

await t.test(
  'a build that fails while it samples or trains closes its handles and leaves nothing',
  async (t) => {
    const folder = scratch(t)
    const path = join(folder, 'disk.img')
    writeFileSync(path, Buffer.concat([phraseBytes(6 * MiB, 2), randomBytes(MiB, 3)]))
    const before = openCount()
    const options = { profile: 'eda', dictionary: 'always', concurrency: 1 } as const
    /** @param change of the source that is opened */
    const failing = async (change: (source: Source) => Source, signal?: AbortSignal): Promise<string> =>
      rejected(
        buildStreams(
          [{ name: 'disk', source: change(await openSource(path)) }],
          await openTarget(join(folder, 'out.st')),
          { ...options, ...(signal === undefined ? {} : { signal }) }
        )
      )

    let reads = 0
    const dying = (source: Source): Source => ({
      ...source,
      readAt: (offset, into) => {
        reads += 1
        return reads === 50
          ? Promise.reject(new Error('the disk dies'))
          : (source.readAt?.(offset, into) ?? Promise.resolve())
      }
    })
    t.equal(await failing(dying), 'Error: the disk dies', 'while it is sampled')

    const controller = new AbortController()
    const aborting = (source: Source): Source => ({
      ...source,
      read: (how) => {
        setTimeout(() => controller.abort(), 20) // the first pass has begun: it is training
        return source.read(how)
      }
    })
    t.equal(
      await failing(aborting, controller.signal),
      'AbortError: The operation was aborted',
      'while it trains'
    )
    t.match(
      await failing((source) => source, AbortSignal.abort()),
      /This operation was aborted|The operation was aborted/
    )

    t.strictSame(readdirSync(folder), ['disk.img'])
    t.equal(openCount(), before)
  }
)

await t.test('a pipe that breaks while its chunks are held', async (t) => {
  async function* breaking(): AsyncGenerator<Uint8Array> {
    yield* cutEvery(phraseBytes(3 * MiB, 4), MiB)
    throw await Promise.resolve(new Error('the far side died'))
  }
  const { stream, bytes } = collector()
  const outcomes: DictionaryOutcome[] = []
  t.equal(
    await rejected(
      buildStreams(
        [{ name: 'disk', source: iterableSource(breaking(), 'the pipe') }],
        writableTarget(stream),
        { profile: 'eda', concurrency: 1, onDictionary: (outcome) => outcomes.push(outcome) }
      )
    ),
    "SourceError SOURCE_UNREADABLE: the pipe can't be read: the far side died"
  )
  t.strictSame(outcomes, [])
  t.equal(bytes().length, 0, 'nothing was written')
})
