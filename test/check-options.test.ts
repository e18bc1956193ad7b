import { generateKeyPairSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { build, buildStreams, predict, train } from '../lib/index.js'
import {
  chunker,
  compressor,
  dedupFilter,
  dictionarySampler,
  encryptor,
  indexer,
  iterableSource,
  reader,
  sink
} from '../transforms/index.js'
import { collector } from './helpers/build.js'
import { caught, rejected } from './helpers/errors.js'
import { runStage } from './helpers/streams.js'

/** What plain JavaScript may call with anything. */
const loose = (call: unknown): ((...args: unknown[]) => Promise<unknown>) =>
  call as (...args: unknown[]) => Promise<unknown>

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pem = publicKey.export({ type: 'spki', format: 'pem' })
const elliptic = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey
const rsa = 'a public RSA KeyObject of node:crypto, as createPublicKey() makes of PEM'
const target = 'a path, or a Writable of node:stream; Writable.fromWeb() makes one of a web stream'
const buildOptions =
  'profile, cdc, codec, level, chunkSize, chunkSizeMin, chunkSizeMax, dictionary, concurrency, dedupMemory, dictionaryWindow, locks, signal, onProgress, onDictionary, onTimings, source, memory, target, force, expectSize, allowEmpty, format'

/** Options of `build()` beside a source and a target, and what is said of them. */
const refused: readonly (readonly [options: object, message: string])[] = [
  [{ encrypt: true, passphrase: 'x' }, `build() has no option "encrypt"; it has ${buildOptions}`],
  [{ profil: 'eda' }, `build() has no option "profil"; it has ${buildOptions}`],
  [{ toString: 1 }, `build() has no option "toString"; it has ${buildOptions}`],
  [{ source: undefined }, 'build() needs a source: a path, or an async iterable of bytes'],
  [{ source: 5 }, 'option source of build() is a string, or an async iterable of bytes, not 5'],
  [
    { source: Buffer.from('x') },
    'option source of build() is a string, or an async iterable of bytes, not one of Buffer'
  ],
  [{ target: undefined }, 'build() needs a target: a path, or a Writable'],
  [
    { target: new WritableStream() },
    `option target of build() is a string, or ${target}, not one of WritableStream`
  ],
  [{ target: {} }, `option target of build() is a string, or ${target}, not another object`],
  [{ cdc: 'yes' }, 'option cdc of build() is true or false, not a string'],
  [{ force: 1 }, 'option force of build() is true or false, not 1'],
  [{ codec: 'brotli' }, 'option codec of build() is one of raw, lz4, zstd, not a string'],
  [{ level: '9' }, 'option level of build() is a number, not a string'],
  [
    { dictionary: 'never' },
    'option dictionary of build() is one of auto, always, off, or a Uint8Array, not a string'
  ],
  [
    { dictionaryWindow: Number.NaN },
    'option dictionaryWindow of build() is a whole number of at least 1, not NaN'
  ],
  [{ expectSize: -1 }, 'option expectSize of build() is a whole number of at least 0, not -1'],
  [{ signal: true }, 'option signal of build() is an AbortSignal, not true'],
  [{ onProgress: {} }, 'option onProgress of build() is a function, not another object'],
  [{ locks: { passphrase: 5 } }, 'option passphrase of locks is a string or a Uint8Array, not 5'],
  [{ locks: { password: 'x' } }, 'locks has no option "password"; it has passphrase, recipients, scrypt'],
  [
    { locks: { recipients: [pem] } },
    `option recipients of locks is a list, of which each is ${rsa}, not one of Array`
  ],
  [
    { locks: { recipients: publicKey } },
    `option recipients of locks is a list, of which each is ${rsa}, not one of PublicKeyObject`
  ],
  [
    { locks: { recipients: [privateKey] } },
    `option recipients of locks is a list, of which each is ${rsa}, not one of Array`
  ],
  [
    { locks: { recipients: [elliptic] } },
    `option recipients of locks is a list, of which each is ${rsa}, not one of Array`
  ],
  [{ locks: { passphrase: 'x', scrypt: { N: 5 } } }, 'scrypt has no option "N"; it has logN, r, p'],
  [{ format: 'qcow2' }, 'option format of build() is one of raw, not a string']
]

await t.test('build() refuses what it does not know, before it touches anything', async (t) => {
  const folder = t.testdir({ source: 'some bytes' })
  const given = { source: join(folder, 'source'), target: join(folder, 'new.st') }
  for (const [options, message] of refused)
    t.equal(await rejected(loose(build)({ ...given, ...options })), `UsageError USAGE: ${message}`)
  for (const options of [undefined, null, 'disk.img'])
    t.match(
      await rejected(loose(build)(options)),
      /^UsageError USAGE: build\(\) takes an object of options, not /
    )
  t.notOk(existsSync(given.target))
  await build({ ...given, memory: undefined, signal: undefined, concurrency: 1 } as never)
  t.ok(existsSync(given.target), 'an option that is undefined is as good as absent')
})

await t.test('so do the others', async (t) => {
  const source = iterableSource(new PassThrough(), 'x')
  const { stream } = collector()
  const cases: readonly (readonly [call: () => unknown, message: string])[] = [
    [
      () => loose(predict)({ sources: [] }),
      'predict() has no option "sources"; it has concurrency, signal, source'
    ],
    [() => loose(predict)({}), 'predict() needs a source: a path, or an async iterable of bytes'],
    [
      () => loose(train)({ sources: 'x' }),
      'option sources of train() is a list, of which each is a string, or an async iterable of bytes, not a string'
    ],
    [() => loose(train)({}), 'train() needs sources'],
    [
      () => loose(buildStreams)([{ name: 'disk' }], stream),
      'the target of buildStreams() is a target, as openTarget() gives, not one of Writable'
    ],
    [
      () => loose(buildStreams)('disk'),
      'the first argument of buildStreams() is a list, of which each is an object, not a string'
    ],
    [
      () => loose(buildStreams)([{ name: 'disk', source, size: 5 }], {}),
      'a stream has no option "size"; it has name, source, expectSize, allowEmpty'
    ],
    [
      () => chunker({ avrage: 5 } as never),
      'chunker() has no option "avrage"; it has chunker, min, avg, max, stream, pool, slabs'
    ],
    [
      () => chunker({ chunker: 'rabin' as never }),
      'option chunker of chunker() is one of fixed, fastcdc, not a string'
    ],
    [
      () => compressor({ codec: 'brotli' as never }),
      'option codec of compressor() is one of raw, lz4, zstd, not a string'
    ],
    [() => compressor({ codec: 'zstd', level: 99 }), 'level 99 is out of range: Zstd has 1 to 19'],
    [
      () => compressor({ pool: {} as never }),
      'option pool of compressor() is a pool, as createWorkerPool() gives, not another object'
    ],
    [
      () => dedupFilter({ memory: 5 } as never),
      'dedupFilter() has no option "memory"; it has capacity, pool'
    ],
    [
      () => dictionarySampler({ windowSize: Number.NaN }),
      'option windowSize of dictionarySampler() is a whole number of at least 1, not NaN'
    ],
    [() => encryptor({ key: 5 } as never), 'encryptor() has no option "key"; it has sealing, pool, slabs'],
    [() => indexer(undefined as never), 'indexer() takes an object of options, not undefined'],
    [
      () => reader('disk.img' as never),
      'the source of reader() is a source, as openSource() gives, not a string'
    ],
    [
      () => reader(source, { expect: 5 } as never),
      'reader() has no option "expect"; it has expectSize, allowEmpty'
    ],
    [() => sink('out.st' as never), 'the target of sink() is a target, as openTarget() gives, not a string']
  ]
  for (const [call, message] of cases) {
    let promise: Promise<unknown> | undefined
    const thrown = caught(() => {
      const result = call()
      if (result instanceof Promise) promise = result as Promise<unknown>
    })
    t.equal(promise === undefined ? thrown : await rejected(promise), `UsageError USAGE: ${message}`)
  }
})

await t.test('the chunker takes every kind of bytes, and nothing else', async (t) => {
  const bytes = Uint8Array.of(1, 2, 3, 4)
  const { buffer } = bytes
  const kinds: readonly unknown[] = [
    bytes,
    buffer,
    new DataView(buffer),
    new Uint16Array(buffer),
    new Uint8ClampedArray(buffer),
    Buffer.from(bytes),
    runInNewContext('Uint8Array.of(1, 2, 3, 4)'),
    runInNewContext('Uint8Array.of(1, 2, 3, 4).buffer'),
    '\u0001\u0002\u0003\u0004'
  ]
  for (const kind of kinds) {
    const batches = await runStage<{ bytes: Uint8Array }>([kind], chunker({ avg: 512 }))
    t.strictSame(
      batches.map((batch) => [...batch.bytes]),
      [[1, 2, 3, 4]]
    )
    const { stream, bytes: written } = collector()
    // eslint-disable-next-line @typescript-eslint/require-await -- a source is an async iterable
    async function* source(): AsyncGenerator {
      yield kind
    }
    await build({ source: source() as never, target: stream, codec: 'raw', concurrency: 1 })
    t.ok(written().includes(Buffer.from(bytes)), 'and so does build()')
  }
  const others: readonly (readonly [record: unknown, what: string])[] = [
    [42, 'something other than bytes: number'],
    [{}, 'something other than bytes: object'],
    [{ kind: 'stream' }, 'something other than bytes: object'],
    [{ kind: 'stream', stream: '1' }, 'something other than bytes: object'],
    [[1, 2], 'something other than bytes: object'],
    [true, 'something other than bytes: boolean'],
    ['half of a \ud83d', 'text that UTF-8 cannot hold']
  ]
  for (const [record, what] of others) {
    const message = `SourceError SOURCE_UNREADABLE: the source gave ${what}`
    t.equal(await rejected(runStage([record], chunker())), message)
  }
})
