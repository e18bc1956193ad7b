import { Writable } from 'node:stream'
import t, { type Test } from 'tap'
import { build, recoverStream, verifySnapshot, type ByteSource } from '../../lib/index.js'
import { decodeFrameHeader, frameHeaderSize } from '../../lib/format/frame.js'
import { readHeader } from '../../lib/reader/structure.js'
import { memorySource } from '../helpers/snapshots.js'

/** Frames that are intact but not where they belong: only the index page can tell. */

/** Blocks of several sizes, holes, and repeats alone and in a row. */
const plain = Buffer.concat(
  ['a', 'b', '0', 'c', 'aa', '00', 'd', 'abcd', '0', 'e'].map((text) =>
    Buffer.concat(Array.from(text, (letter) => piece(letter)))
  )
)

function piece(letter: string): Buffer {
  if (letter === '0') return Buffer.alloc(512)
  const words = 'abcde'.indexOf(letter) * 60
  return Buffer.concat([Buffer.alloc(512 - words, letter), Buffer.from(sequence(words, letter))])
}

/** Bytes that do not shrink, so that each block has a size of its own. */
function sequence(size: number, seed: string): number[] {
  let state = seed.charCodeAt(0)
  return Array.from({ length: size }, () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24)
}

async function makeSnapshot(codec: 'raw' | 'zstd'): Promise<Buffer> {
  const pieces: Buffer[] = []
  const target = new Writable({
    write(bytes: Buffer, _encoding, done) {
      pieces.push(bytes)
      done()
    }
  })
  const source = (async function* () {
    await Promise.resolve()
    yield plain
  })()
  await build({ source, target, codec, chunkSize: 512, concurrency: 1 })
  return Buffer.concat(pieces)
}

const byteSource = (bytes: Buffer): ByteSource => memorySource(bytes, 'swapped.st')

/** The frames before the first page, and what lies around them. */
async function split(snapshot: Buffer): Promise<{ head: Buffer; frames: Buffer[]; tail: Buffer }> {
  const { framesOffset } = await readHeader(byteSource(snapshot))
  const frames: Buffer[] = []
  let offset = framesOffset
  for (;;) {
    const { type, payloadSize } = decodeFrameHeader(snapshot.subarray(offset), 'sample', offset)
    if (type === 'page') break
    frames.push(snapshot.subarray(offset, offset + frameHeaderSize + payloadSize))
    offset += frameHeaderSize + payloadSize
  }
  return { head: snapshot.subarray(0, framesOffset), frames, tail: snapshot.subarray(offset) }
}

/** Recovers, and compares every byte that is said to be good, and every other with zero. */
async function recover(t: Test, what: string, snapshot: Buffer): Promise<boolean> {
  const written = Buffer.alloc(2 * plain.length)
  const result = await recoverStream(
    byteSource(snapshot),
    {
      writeAt(offset, bytes) {
        written.set(bytes, offset)
        return Promise.resolve()
      }
    },
    { concurrency: 0 }
  )
  const expected = Buffer.alloc(written.length)
  for (const { start, end } of result.recovered) plain.copy(expected, start, start, end)
  t.strictSame(written.subarray(0, result.streamSize), expected.subarray(0, result.streamSize), what)
  // A page may give back every byte though frames are not where they belong: that is no whole snapshot.
  const isIntact = await verifySnapshot(byteSource(snapshot), { concurrency: 0 }).then(
    () => true,
    () => false
  )
  t.equal(result.isComplete, isIntact, `${what}: complete`)
  if (isIntact) t.equal(result.recovered[0]?.end, plain.length, `${what}: every byte`)
  return result.isComplete
}

for (const codec of ['raw', 'zstd'] as const) {
  await t.test(`two frames swapped, ${codec}: what is said to be recovered is right`, async (t) => {
    const snapshot = await makeSnapshot(codec)
    t.equal(await recover(t, 'as it was made', snapshot), true)
    const { head, frames, tail } = await split(snapshot)
    t.equal(frames.length, 10)
    for (let i = 0; i < frames.length; i++) {
      for (let j = i + 1; j < frames.length; j++) {
        const swapped = frames.map((frame, k) => (k === i ? frames[j] : k === j ? frames[i] : frame))
        await recover(t, `${i} and ${j}`, Buffer.concat([head, ...swapped.map((f) => f ?? head), tail]))
      }
    }
  })

  await t.test(
    `a frame over another of its size, ${codec}: what is said to be recovered is right`,
    async (t) => {
      const { head, frames, tail } = await split(await makeSnapshot(codec))
      for (const [i, over] of frames.entries()) {
        for (const [j, under] of frames.entries()) {
          if (i === j || over.length !== under.length) continue
          const copied = frames.map((frame, k) => (k === j ? over : frame))
          await recover(t, `${i} over ${j}`, Buffer.concat([head, ...copied, tail]))
        }
      }
    }
  )
}
