import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { CorruptError, type Snapshot } from '../../lib/index.js'
import { buildOfStages } from '../helpers/build.js'
import { scratch } from '../helpers/run-cli.js'
import { makeCorpus, modelOf } from './corpus.js'
import { encode, fuzzPassphrase } from './encode.js'
import { createInputs } from './inputs.js'
import { hexz, type Library } from './library.js'
import { readPieces } from '../helpers/independent-reader.js'
import { snapshotTarget } from './targets/snapshot.js'
import { textBytes, zeroBytes } from '../helpers/data.js'

/* The fuzzer can fail: faults that are planted in the library are found, and those that end a process, too. */

const corpus = await makeCorpus()

await t.test('a snapshot that is taken apart and put together again is the same', async (t) => {
  const text = textBytes(1024, 1)
  const file = await buildOfStages([[text, zeroBytes(2048), text], [text]], {
    chunkSize: 512,
    codec: 'zstd',
    level: 3
  })
  t.ok((await encode(await modelOf(file))).equals(file))
  for (const { name, file, plain, isEncrypted } of corpus) {
    const credentials = isEncrypted ? { passphrase: fuzzPassphrase } : {}
    const streams = readPieces(file, credentials).pieces.map((pieces) =>
      Buffer.concat(pieces.map((piece) => (typeof piece === 'number' ? zeroBytes(piece) : piece)))
    )
    t.strictSame(
      streams.map((bytes, i) => bytes.equals(plain[i] ?? text)),
      plain.map(() => true),
      name
    )
  }
})

await t.test('a number has its input, whatever was made before it', async (t) => {
  const [one, other] = [await createInputs(5), await createInputs(5)]
  const numbers = Array.from({ length: 120 }, (_, i) => i)
  const inOrder: Buffer[] = []
  for (const number of numbers) inOrder.push(Buffer.from((await one.make(number)).bytes))
  for (const number of numbers.reverse())
    if (!inOrder[number]?.equals((await other.make(number)).bytes)) t.fail(`input ${number} is another one`)
  t.ok(new Set(inOrder.map((bytes) => bytes.toString('latin1'))).size > 100, 'and they differ')
})

/** Kinds of findings in the first inputs, until `wanted` is among them. */
async function kindsFound(library: Library, wanted: RegExp, countMax: number): Promise<string[]> {
  const target = snapshotTarget(corpus, library)
  const kinds = new Set<string>()
  for (let number = 0; number < countMax && ![...kinds].some((kind) => wanted.test(kind)); number++) {
    const input = await target.make([1, number], () => true)
    const rest = await input.check((kind) => void kinds.add(kind))
    rest?.()
  }
  await target.close?.()
  return [...kinds]
}

/** The same snapshot with some ways to read it replaced. */
const withReaders =
  (change: (snapshot: Snapshot) => Partial<Snapshot>): Library['openSnapshot'] =>
  async (from, options) => {
    const snapshot = await hexz.openSnapshot(from, options)
    return { ...snapshot, ...change(snapshot) }
  }

const planted: readonly (readonly [string, Partial<Library>, RegExp])[] = [
  [
    'verify looks at the structure only',
    { verifySnapshot: (source, options) => hexz.verifySnapshot(source, { ...options, quick: true }) },
    /^verify passes what cannot be read/
  ],
  [
    'what cannot be read is given as zeros',
    {
      openSnapshot: withReaders((snapshot) => ({
        read: (stream, offset, length) =>
          snapshot.read(stream, offset, length).catch(() => Buffer.alloc(length))
      }))
    },
    /^read gives bytes that are not intact/
  ],
  [
    'a stream ends where it is damaged',
    {
      openSnapshot: withReaders((snapshot) => ({
        async *runs(stream, range) {
          try {
            yield* snapshot.runs(stream, range)
          } catch {
            // a worker's error, swallowed
          }
        }
      }))
    },
    /^runs end too early/
  ],
  [
    'recover always says that all is well',
    { recoverStream: async (...args) => ({ ...(await hexz.recoverStream(...args)), isComplete: true }) },
    /^recover says complete, verify INCOMPLETE/
  ],
  [
    'recover puts a byte in the wrong place',
    {
      recoverStream: (source, target, options) =>
        hexz.recoverStream(source, { writeAt: (offset, bytes) => target.writeAt(offset + 1, bytes) }, options)
    },
    /^recover gives other bytes than/
  ],
  [
    'an error without a name',
    {
      openSnapshot: (from, options) =>
        hexz.openSnapshot(from, options).catch((error: unknown) => {
          throw error instanceof CorruptError && error.code === 'BAD_DIGEST'
            ? new RangeError('out of range')
            : error
        })
    },
    /^unnamed error in openSnapshot/
  ],
  [
    'diff sees nothing',
    {
      async *diffStreams() {
        // nothing differs
      }
    },
    /^diff says something else/
  ]
]

async function testPlanted(t: Test, fault: Partial<Library>, wanted: RegExp): Promise<void> {
  const kinds = await kindsFound({ ...hexz, ...fault }, wanted, 400)
  t.ok(
    kinds.some((kind) => wanted.test(kind)),
    `among ${kinds.length} kinds`
  )
}
for (const [name, fault, wanted] of planted) await t.test(name, (t) => testPlanted(t, fault, wanted))

await t.test('inputs that hang, end or fill a process', async (t) => {
  const run = async (...options: string[]): Promise<{ stdout: string; status: number | null }> => {
    const args = [join(import.meta.dirname, 'run.js'), '--seed', '3', '--only', 'planted', '--jobs', '1']
    const child = spawn(process.execPath, [...args, '--out', scratch(t), ...options])
    const [stdout, [status]] = await Promise.all([
      text(child.stdout),
      once(child, 'exit') as Promise<[number | null]>
    ])
    return { stdout, status }
  }
  const [{ stdout, status }, memory, none] = await Promise.all([
    run('--count', '4', '--limit', '4'),
    run('--input', '4', '--limit', '60'),
    run('--input', '0')
  ])
  t.equal(status, 1)
  for (const kind of ['error that nobody waits for', 'crash', 'hang'])
    t.match(stdout, new RegExp(`^planted: ${kind}, 1 times$`, 'm'))
  t.match(stdout, /^4 inputs in \d+ s: planted 4$/m)
  t.match(memory.stdout, /^planted: memory\n {2}\d+ MiB more$/m)
  t.equal(none.status, 0)
})
