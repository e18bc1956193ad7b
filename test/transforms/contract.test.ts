import { Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { chain } from 'stream-chain'
import t from 'tap'
import {
  chunker,
  compressor,
  createSlabPool,
  createWorkerPool,
  dedupFilter,
  dictionarySampler,
  encryptor,
  indexer,
  inOrder,
  lock,
  makeHeader,
  resolveSettings,
  sink,
  type FilteredBatch,
  type SlabPool,
  type SnapshotRecord
} from '../../transforms/index.js'
import { openSnapshot } from '../../lib/index.js'
import { collector } from '../helpers/build.js'
import { cutEvery, mixedBytes, zeroBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { fileOf, memorySource } from '../helpers/snapshots.js'
import { runStage } from '../helpers/streams.js'

/* Each stage by itself, from what `hexz/transforms` exports and nothing else, in each of its forms. */

const disk = Buffer.concat([mixedBytes(5_000_000, 1), zeroBytes(300_000), mixedBytes(900_000, 1)])
const header = makeHeader(resolveSettings({ profile: 'eda' }), ['disk'])

const stages = () =>
  inOrder(
    chunker({ avg: header.chunkSizeAvg }),
    dedupFilter(),
    dictionarySampler(),
    compressor({ codec: 'zstd' }),
    indexer({ header }),
    encryptor()
  )
const functions = () =>
  [
    chunker.asFunction({ avg: header.chunkSizeAvg }),
    dedupFilter.asFunction(),
    dictionarySampler.asFunction(),
    compressor.asFunction({ codec: 'zstd' }),
    indexer.asFunction({ header }),
    encryptor.asFunction()
  ] as const

const expected = fileOf(await runStage<SnapshotRecord>(cutEvery(disk, 70_000), ...stages()))

await t.test('the same snapshot in every form', async (t) => {
  const snapshot = await openSnapshot(memorySource(expected, 'x.st'))
  t.ok((await snapshot.read('disk', 0, disk.length)).equals(disk))
  await snapshot.close()

  const chained: SnapshotRecord[] = []
  const input = chain(functions())
  const fed = pipeline(Readable.from(cutEvery(disk, 70_000)), input)
  for await (const record of input) chained.push(record)
  await fed
  t.ok(fileOf(chained).equals(expected), 'functions in a chain of stream-chain')

  let web: ReadableStream = new ReadableStream({
    start(controller) {
      for (const piece of cutEvery(disk, 70_000)) controller.enqueue(piece)
      controller.close()
    }
  })
  web = web
    .pipeThrough(chunker.asWebStream({ avg: header.chunkSizeAvg }))
    .pipeThrough(dedupFilter.asWebStream())
    .pipeThrough(dictionarySampler.asWebStream())
    .pipeThrough(compressor.asWebStream({ codec: 'zstd' }))
    .pipeThrough(indexer.asWebStream({ header }))
    .pipeThrough(encryptor.asWebStream())
  const records: SnapshotRecord[] = []
  for await (const record of web as unknown as AsyncIterable<SnapshotRecord>) records.push(record)
  t.ok(fileOf(records).equals(expected), 'web streams')

  // A stage of Node among web streams, as Duplex.toWeb makes it.
  const { readable, writable } = Duplex.toWeb(chunker({ avg: header.chunkSizeAvg }))
  const bytes = new ReadableStream({
    start(controller) {
      controller.enqueue(disk)
      controller.close()
    }
  })
  const sizes: number[] = []
  const batches = bytes.pipeThrough({ readable, writable }) as unknown as AsyncIterable<{
    sizes: Uint32Array
  }>
  for await (const batch of batches) sizes.push(...batch.sizes)
  t.equal(
    sizes.reduce((sum, size) => sum + size, 0),
    disk.length,
    'Duplex.toWeb'
  )
})

/** A number, text and records of other stages, none of which is let through in silence. */
const wrong: readonly (readonly [make: () => Duplex, record: unknown, message: string])[] = [
  [
    dedupFilter,
    Buffer.from('x'),
    'dedupFilter() takes records of kind chunks, and was given something else: object'
  ],
  [
    dedupFilter,
    { kind: 'filtered' },
    'dedupFilter() takes records of kind chunks, and was given one of kind filtered'
  ],
  [
    dictionarySampler,
    42,
    'dictionarySampler() takes records of kind filtered, and was given something else: number'
  ],
  [
    compressor,
    { kind: 'chunks' },
    'compressor() takes records of kind filtered or dictionary, and was given one of kind chunks'
  ],
  [
    () => indexer({ header }),
    {},
    'indexer() takes records of kind blocks or dictionary, and was given something else: object'
  ],
  [
    encryptor,
    { kind: 'blocks' },
    'encryptor() takes records of kind header or frames or footer, and was given one of kind blocks'
  ]
]

await t.test('a record that a stage does not take', async (t) => {
  for (const [make, record, message] of wrong) {
    t.equal(await rejected(runStage([record], make())), `UsageError USAGE: ${message}`)
    const filled = { ...(record as object), kind: 'unheard-of' }
    t.match(
      await rejected(runStage([filled], make())),
      /^UsageError USAGE: \w+\(\) takes records of kind .*unheard-of$/
    )
  }
  const { stream } = collector()
  const target = {
    name: 'x',
    write: (pieces: readonly Uint8Array[]) => Promise.resolve(void stream.write(Buffer.concat(pieces))),
    commit: () => Promise.resolve(),
    discard: () => Promise.resolve()
  }
  t.match(
    await rejected(pipeline(Readable.from([{ kind: 'chunks' }]), sink(target))),
    'UsageError USAGE: sink() takes records of kind header or frames or footer, and was given one of kind chunks'
  )
})

await t.test('settings that no stage has', async (t) => {
  const refused = (work: () => unknown): Promise<string> => rejected(Promise.resolve().then(work))
  t.match(
    await refused(() => compressor({ codec: 'brotli' as never })),
    /^UsageError USAGE: option codec of compressor\(\)/
  )
  t.match(
    await refused(() => compressor({ codec: 'zstd', level: 99 })),
    /^UsageError USAGE: level 99 is out of range/
  )
  t.match(await refused(() => chunker({ avg: 100 })), /^UsageError USAGE: chunk sizes must be/)
  t.match(
    await rejected(
      runStage(
        [{ kind: 'blocks', stream: 0, streamOffset: 0, frames: new Uint8Array(0), chunks: [] }],
        indexer({ header: { ...header, encrypted: true }, keySlots: new Uint8Array(3) })
      )
    ),
    'UsageError USAGE: the key slots of this header have 10240 bytes, not 3'
  )
})

await t.test('threads write to shared memory only', async (t) => {
  const pool = createWorkerPool(1)
  t.teardown(() => pool.close())
  const ordinary: SlabPool = {
    acquire: (size) => ({ bytes: new Uint8Array(size), room: 0, release: () => undefined })
  }
  const message =
    'UsageError USAGE: with a pool of threads, slabs must be shared memory, as createSlabPool() gives it'
  const filtered = await runStage<FilteredBatch>([disk], chunker(), dedupFilter())
  t.equal(await rejected(runStage(filtered, compressor({ pool, slabs: ordinary }))), message)
  const locked = lock({ ...header, encrypted: true }, { passphrase: 'x', scrypt: { logN: 10, r: 1, p: 1 } })
  const frames = [{ kind: 'frames', offset: 0, frames: [Buffer.alloc(64)] }]
  t.equal(
    await rejected(runStage(frames, encryptor({ sealing: locked.sealing, pool, slabs: ordinary }))),
    message
  )
  const here = await runStage<SnapshotRecord>(filtered, compressor({ slabs: ordinary }), indexer({ header }))
  const there = await runStage<SnapshotRecord>(
    filtered,
    compressor({ pool, slabs: createSlabPool() }),
    indexer({ header })
  )
  t.ok(fileOf(here).equals(fileOf(there)), 'on this thread any memory will do')
})

await t.test('a batch that is kept stays as it was, as long as nobody releases it', async (t) => {
  const batches = await runStage<{ bytes: Uint8Array; streamOffset: number }>(
    cutEvery(disk, 999_999),
    chunker()
  )
  t.ok(
    batches.every(({ bytes, streamOffset }) =>
      Buffer.from(bytes).equals(disk.subarray(streamOffset, streamOffset + bytes.length))
    )
  )
})

await t.test('an encrypted snapshot by hand is the one that build() makes', async (t) => {
  const { createHash } = await import('node:crypto')
  const crypto = (await import('node:crypto')).default
  const { syncBuiltinESMExports } = await import('node:module')
  const { buildInMemory } = await import('../helpers/build.js')
  // The same "random" bytes for both, so that they have the same key and the same salts.
  const { randomBytes } = crypto
  let drawn = 0
  crypto.randomBytes = (size: number) =>
    createHash('shake256', { outputLength: size }).update(`${drawn++}`).digest()
  syncBuiltinESMExports()
  t.teardown(() => {
    crypto.randomBytes = randomBytes
    syncBuiltinESMExports()
  })
  const locks = { passphrase: 'open sesame', scrypt: { logN: 10, r: 1, p: 1 } }
  const { file } = await buildInMemory([[disk]], { profile: 'eda', dictionary: 'off', locks })

  drawn = 0
  const encrypted = makeHeader(resolveSettings({ profile: 'eda' }), ['disk'], true)
  const { sealing, keySlots } = lock(encrypted, locks)
  const byHand = fileOf(
    await runStage<SnapshotRecord>(
      [disk],
      ...inOrder(
        chunker({ avg: encrypted.chunkSizeAvg }),
        dedupFilter(),
        compressor({ codec: encrypted.codec, level: encrypted.level }),
        indexer({ header: encrypted, keySlots }),
        encryptor({ sealing })
      )
    )
  )
  t.ok(byHand.equals(file), `${byHand.length} bytes`)
  const snapshot = await openSnapshot(memorySource(byHand, 'x.st'), { passphrase: 'open sesame' })
  t.ok((await snapshot.read('disk', 0, disk.length)).equals(disk))
  await snapshot.close()
})
