import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import t from 'tap'
import {
  build,
  HexzError,
  openSnapshot,
  recoverStream,
  verifySnapshot,
  type ByteSource
} from '../../lib/index.js'
import { bytesOf } from '../../lib/reader/open-snapshot.js'
import { memorySource } from '../helpers/snapshots.js'

/** Every damage of one byte, and every cut, done to small snapshots. What comes back is right or a named error. */

interface Sample {
  readonly name: string
  readonly plain: Buffer
  readonly snapshot: Buffer
}

const chunkSize = 512

/** Data, zeros, a repeat, text, a repeat of both, and a short end. */
function plainBytes(): Buffer {
  let state = 1
  const noise = Buffer.from(
    Array.from({ length: chunkSize }, () => (state = (state * 1103515245 + 12345) & 0x7fffffff) >>> 16)
  )
  const text = Buffer.from('wire n1; assign n1 = n2; '.repeat(40)).subarray(0, chunkSize)
  return Buffer.concat([noise, Buffer.alloc(3 * chunkSize), noise, text, noise, text, Buffer.from('the end')])
}

async function makeSample(name: string, settings: object): Promise<Sample> {
  const plain = plainBytes()
  const target = new PassThrough()
  const pieces: Buffer[] = []
  target.on('data', (piece: Buffer) => pieces.push(piece))
  const ended = once(target, 'end')
  // eslint-disable-next-line @typescript-eslint/require-await -- a source is an async iterable
  async function* source(): AsyncGenerator<Buffer> {
    yield plain
  }
  await build({ source: source(), target, chunkSize, concurrency: 1, ...settings })
  await ended
  return { name, plain, snapshot: Buffer.concat(pieces) }
}

const inMemory = (bytes: Buffer): ByteSource => memorySource(bytes, 'sample.st')

/** `undefined` when the damage went by; anything but a named error fails the test. */
async function namedError(work: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await work()
    return undefined
  } catch (error) {
    if (error instanceof HexzError) return String(error.code)
    throw error
  }
}

async function readAll(bytes: Buffer): Promise<Buffer> {
  const snapshot = await openSnapshot(inMemory(bytes))
  const pieces: Buffer[] = []
  for await (const piece of bytesOf(snapshot.runs('disk'))) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** Counts what recover gives back that the source never held, and throws for what is no named error. */
async function wrongBytesRecovered(bytes: Buffer, plain: Buffer): Promise<number> {
  const written = Buffer.alloc(plain.length * 4, 0xee)
  const target = {
    writeAt(offset: number, piece: Uint8Array): Promise<void> {
      written.set(piece, offset)
      return Promise.resolve()
    }
  }
  let wrong = 0
  await namedError(async () => {
    const { recovered, isComplete, prefixSize } = await recoverStream(inMemory(bytes), target)
    for (const { start, end } of recovered) {
      for (let i = start; i < end; i++) {
        // A recovered hole is not written, and reads back as zero.
        const found = written[i] === 0xee && plain[i] === 0 ? 0 : written[i]
        if (found !== plain[i]) wrong += 1
      }
    }
    if (isComplete && prefixSize !== plain.length) wrong += 1
  })
  return wrong
}

const samples = [
  await makeSample('fixed, LZ4', { profile: 'generic' }),
  await makeSample('content-defined, Zstd', { profile: 'eda', cdc: true, chunkSize: 2048 })
]
let cutCount = 0
let flipCount = 0

for (const { name, plain, snapshot } of samples) {
  await t.test(`${name}: the sample itself is whole`, async (t) => {
    await verifySnapshot(inMemory(snapshot), { concurrency: 0 })
    t.ok((await readAll(snapshot)).equals(plain))
    t.equal(await wrongBytesRecovered(snapshot, plain), 0)
  })

  await t.test(`${name}: cut at every byte`, async (t) => {
    const missed: number[] = []
    const invented: number[] = []
    for (let size = 0; size < snapshot.length; size++) {
      const cut = snapshot.subarray(0, size)
      const code = await namedError(() => verifySnapshot(inMemory(cut), { concurrency: 0 }))
      const opened = await namedError(() => openSnapshot(inMemory(cut)))
      if (code === undefined || opened === undefined) missed.push(size)
      if ((await wrongBytesRecovered(cut, plain)) > 0) invented.push(size)
      cutCount += 1
    }
    t.same(missed, [], 'cuts that were not noticed')
    t.same(invented, [], 'cuts after which recover gave wrong bytes')
  })

  await t.test(`${name}: every byte flipped`, async (t) => {
    const missed: string[] = []
    const invented: string[] = []
    for (let offset = 0; offset < snapshot.length; offset++) {
      for (const mask of [1 << (offset & 7), 0xff]) {
        const flipped = Buffer.from(snapshot)
        flipped[offset] = (snapshot[offset] ?? 0) ^ mask
        if ((await namedError(() => verifySnapshot(inMemory(flipped), { concurrency: 0 }))) === undefined)
          missed.push(`${offset} ${mask}`)
        flipCount += 1
        if (mask !== 0xff) continue // what is left takes three times as long
        await namedError(async () => {
          if (!(await readAll(flipped)).equals(plain)) throw new Error('wrong bytes')
        })
        if ((await wrongBytesRecovered(flipped, plain)) > 0) invented.push(`${offset} ${mask}`)
      }
    }
    t.same(missed, [], 'flips that verify did not notice')
    t.same(invented, [], 'flips after which recover gave wrong bytes')
  })

  await t.test(`${name}: bytes appended`, async (t) => {
    for (const tail of [Buffer.from([0]), Buffer.from('X'), snapshot.subarray(-96), snapshot]) {
      t.equal(
        (await namedError(() => openSnapshot(inMemory(Buffer.concat([snapshot, tail]))))) !== undefined,
        true
      )
    }
  })
}

const sizes = samples.reduce((sum, { snapshot }) => sum + snapshot.length, 0)
t.equal(cutCount, sizes, 'a cut for each byte')
t.equal(flipCount, 2 * sizes, 'two flips for each byte')
// Standard error, because the reporter keeps what passes to itself.
process.stderr.write(`damage cases: cut ${cutCount}, flipped ${flipCount}\n`)
