import t from 'tap'
import { Readable, type Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { encodeFrame } from '../../lib/format/frame.js'
import { makeHeader, resolveSettings } from '../../lib/profiles.js'
import type { Source } from '../../lib/source/source.js'
import type { Target } from '../../lib/target/target.js'
import {
  chunker,
  compressor,
  createWorkerPool,
  dedupFilter,
  dictionarySampler,
  encryptor,
  indexer,
  reader,
  sink,
  type BlockBatch,
  type ChunkBatch,
  type FilteredBatch,
  type SnapshotRecord
} from '../../transforms/index.js'
import { randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { endless, failingSink, holdingSink, settle } from '../helpers/streams.js'
import { blake3 } from '../../lib/format/digest.js'

/*
 * Every stage between a plain Readable and a plain Writable: a sink that fails stops what is before it and
 * closes it, a sink that is slow stops it soon, and an abort ends it at once.
 */

const size = 50_000
const place = { stream: 0, streamOffset: 0 }
const bytesOf = (number: number): Buffer => randomBytes(size, number)

const chunkBatch = (number: number): ChunkBatch => ({
  ...place,
  kind: 'chunks',
  bytes: bytesOf(number),
  sizes: Uint32Array.of(size)
})
const filteredBatch = (number: number): FilteredBatch => {
  const bytes = bytesOf(number)
  return {
    ...place,
    kind: 'filtered',
    bytes,
    chunks: [{ kind: 'unique', start: 0, rawSize: size, digest: blake3(bytes) }]
  }
}
const blockBatch = (number: number): BlockBatch => {
  const payload = Buffer.concat([Buffer.alloc(8), bytesOf(number)])
  const frames = encodeFrame(payload, { type: 'block', rawSize: size })
  const digest = blake3(payload.subarray(8))
  const block = { kind: 'block', rawSize: size, digest, start: 0, storedSize: frames.length } as const
  return { ...place, kind: 'blocks', frames, chunks: [block] }
}
const frameBatch = (number: number): SnapshotRecord => ({
  kind: 'frames',
  offset: number * size,
  frames: [bytesOf(number)]
})

const pool = createWorkerPool(2)
t.teardown(() => pool.close())
const header = makeHeader(resolveSettings(), ['disk'])

interface Case {
  readonly make: () => Duplex
  readonly input: (number: number) => unknown
  /** Inputs that may be taken ahead of what the sink has taken, those in Node's own queues included. */
  readonly aheadMax: number
}

/** Two records wait in a stage, one or two in the source and one in the sink; in work are threads + 1. */
const cases: Record<string, Case> = {
  // One batch is 42 pieces of 50,000 bytes: one batch in the making and one behind the stage.
  chunker: { make: () => chunker(), input: bytesOf, aheadMax: 2 * 42 + 5 },
  // Two in work, and one that fills.
  'chunker (FastCDC)': { make: () => chunker({ chunker: 'fastcdc' }), input: bytesOf, aheadMax: 3 * 42 + 5 },
  'chunker (FastCDC) with threads': {
    make: () => chunker({ chunker: 'fastcdc', pool }),
    input: bytesOf,
    aheadMax: 3 * 42 + 5
  },
  'dedup filter': { make: () => dedupFilter(), input: chunkBatch, aheadMax: 2 + 3 },
  'dedup filter with threads': { make: () => dedupFilter({ pool }), input: chunkBatch, aheadMax: 3 + 3 },
  'dictionary sampler': { make: dictionarySampler, input: filteredBatch, aheadMax: 4 },
  compressor: { make: () => compressor(), input: filteredBatch, aheadMax: 2 + 3 },
  'compressor with threads': { make: () => compressor({ pool }), input: filteredBatch, aheadMax: 3 + 3 },
  indexer: { make: () => indexer({ header }), input: blockBatch, aheadMax: 4 },
  encryptor: { make: encryptor, input: frameBatch, aheadMax: 4 }
}

for (const [name, { make, input, aheadMax }] of Object.entries(cases)) {
  await t.test(`${name}: a failing sink stops it and what is before it`, async (t) => {
    const source = endless(input)
    const stage = make()
    const error = new Error('the sink fails')
    t.equal(await rejected(pipeline(source.stream, stage, failingSink(2, error))), 'Error: the sink fails')
    await settle()
    t.equal(source.isClosed(), true, 'the source is closed')
    t.equal(stage.destroyed, true)
    const pulled = source.pulled()
    await settle()
    t.equal(source.pulled(), pulled, 'nothing more is taken')
  })

  await t.test(`${name}: a sink that takes no more stops it soon`, async (t) => {
    const source = endless(input)
    const { stream, isFull } = holdingSink(3)
    const stage = make()
    const done = rejected(pipeline(source.stream, stage, stream))
    await isFull
    await settle()
    await settle()
    const perOutput = name.startsWith('chunker') ? 42 : 1
    const ahead = source.pulled() - 3 * perOutput
    t.ok(ahead <= aheadMax, `${ahead} inputs ahead, at most ${aheadMax}`)
    stage.destroy()
    t.equal(await done, 'Error: Premature close')
    await settle()
    t.equal(source.isClosed(), true)
  })

  await t.test(`${name}: an abort ends it`, async (t) => {
    const source = endless(input)
    const controller = new AbortController()
    const { stream, isFull } = holdingSink(2)
    const done = rejected(pipeline(source.stream, make(), stream, { signal: controller.signal }))
    await isFull
    controller.abort()
    t.equal(await done, 'AbortError: The operation was aborted')
    await settle()
    t.equal(source.isClosed(), true)
  })

  await t.test(`${name}: a source that fails ends it with the source's error`, async (t) => {
    function* failing(): Generator {
      for (let i = 0; i < 30; i++) yield input(i)
      throw new Error('the source fails')
    }
    const done = pipeline(Readable.from(failing()), make(), failingSink(Infinity, new Error()))
    t.equal(await rejected(done), 'Error: the source fails')
  })
}

function endlessSource(): Source & { pulled: number; isClosed: boolean } {
  const source = {
    name: 'x',
    size: undefined,
    pulled: 0,
    isClosed: false,
    async *read(): AsyncGenerator<Uint8Array, void> {
      for (;;) yield Promise.resolve(bytesOf(source.pulled++))
    },
    close: () => {
      source.isClosed = true
      return Promise.resolve()
    }
  }
  return source
}

await t.test('reader: a failing sink closes the source', async (t) => {
  const source = endlessSource()
  const done = pipeline(reader(source), failingSink(2, new Error('the sink fails')))
  t.equal(await rejected(done), 'Error: the sink fails')
  await settle()
  t.equal(source.isClosed, true)
})

await t.test('reader: a sink that takes no more stops it soon, and an abort closes the source', async (t) => {
  const source = endlessSource()
  const controller = new AbortController()
  const { stream, isFull } = holdingSink(3)
  const done = rejected(pipeline(reader(source), stream, { signal: controller.signal }))
  await isFull
  await settle()
  const ahead = (source.pulled - 3) * size
  t.ok(ahead <= 2.2 * 1024 * 1024, `${ahead} bytes ahead, at most about 2 MiB`)
  controller.abort()
  t.equal(await done, 'AbortError: The operation was aborted')
  await settle()
  t.equal(source.isClosed, true)
})

function countingTarget(write: (count: number) => Promise<void>): Target & { events: string[] } {
  const events: string[] = []
  let count = 0
  const log = (event: string) => (): Promise<void> => {
    events.push(event)
    return Promise.resolve()
  }
  return { name: 'x', events, write: () => write(++count), commit: log('commit'), discard: log('discard') }
}

await t.test(
  'sink: a failing target closes what is before it, and is discarded, not committed',
  async (t) => {
    const source = endless(frameBatch)
    const target = countingTarget((count) =>
      count === 3 ? Promise.reject(new Error('the target fails')) : Promise.resolve()
    )
    t.equal(await rejected(pipeline(source.stream, sink(target))), 'Error: the target fails')
    await settle()
    t.strictSame(target.events, ['discard'])
    t.equal(source.isClosed(), true)
  }
)

await t.test(
  'sink: a target that takes no more stops it soon, and is not closed under a write',
  async (t) => {
    const source = endless(frameBatch)
    let finish = (): void => undefined
    const target = countingTarget((count) =>
      count < 3 ? Promise.resolve() : new Promise((resolve) => (finish = resolve))
    )
    const controller = new AbortController()
    const done = rejected(pipeline(source.stream, sink(target), { signal: controller.signal }))
    await settle()
    t.ok(source.pulled() - 2 <= 4, `${source.pulled() - 2} records ahead, at most 4`)
    controller.abort()
    await settle()
    t.strictSame(target.events, [], 'the write is still going on')
    finish()
    t.equal(await done, 'AbortError: The operation was aborted')
    await settle()
    t.strictSame(target.events, ['discard'])
  }
)

await t.test('sink: a target that may block for ever does not hold up the abort', async (t) => {
  const target = { ...countingTarget(() => new Promise(() => undefined)), isBlocking: true }
  const controller = new AbortController()
  const done = rejected(pipeline(endless(frameBatch).stream, sink(target), { signal: controller.signal }))
  await settle()
  controller.abort()
  t.equal(await done, 'AbortError: The operation was aborted')
  await settle()
  t.strictSame(target.events, ['discard'])
})
