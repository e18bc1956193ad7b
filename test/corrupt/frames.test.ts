import { crc32 } from 'node:zlib'
import t, { type Test } from 'tap'
import { footerSize } from '../../lib/format/footer.js'
import { openSnapshot, verifySnapshot } from '../../lib/index.js'
import { buildOfStages } from '../helpers/build.js'
import { randomBytes, repeatBytes, zeroBytes } from '../helpers/data.js'
import { describeError } from '../helpers/errors.js'
import { framesOf, memorySource } from '../helpers/snapshots.js'
import { enclose, putTogether, takeApart } from './forge.js'

/** Whole frames put elsewhere, and numbers forged with every checksum and digest above them made right. */

function makeStreams(seed: number): Buffer[] {
  const line = repeatBytes(randomBytes(16, seed), 32)
  const other = repeatBytes(randomBytes(16, seed + 1), 32)
  const disk = Buffer.concat([line, zeroBytes(2048), other, zeroBytes(512), line, line, other])
  return [disk, Buffer.concat([line, randomBytes(60, seed + 2)])]
}
const streams = makeStreams(2)
const build = (of: readonly Buffer[]): Promise<Buffer> =>
  buildOfStages(
    of.map((bytes) => [bytes]),
    { chunkSize: 512 }
  )
const snapshot = await build(streams)
const frames = framesOf(snapshot)
const start = frames[0]?.offset ?? 0

/** What `verify` says, and what reading every stream whole gives. */
async function outcomeOf(bytes: Uint8Array, streamCount = 2): Promise<{ verified: string; read: string }> {
  const verified = await verifySnapshot(memorySource(bytes, 'a.st'), { concurrency: 0 }).then(
    () => 'intact',
    describeError
  )
  const read = async (): Promise<string> => {
    const opened = await openSnapshot(memorySource(bytes, 'a.st'))
    for (const [i, plain] of streams.slice(0, streamCount).entries()) {
      const found = await opened.read(opened.header.streams[i] ?? '', 0, plain.length)
      if (!found.equals(plain)) return 'WRONG DATA'
    }
    return 'right'
  }
  return { verified, read: await read().catch(describeError) }
}

const named = /^(Corrupt|Unsupported)Error [A-Z_]+: (a\.st|the (index|header)|damaged)/

/** Every outcome is a named error or, where a frame is not read for data, the right data; `verify` finds all. */
async function checkAll(t: Test, cases: Iterable<readonly [string, Buffer]>): Promise<number> {
  const wrong: string[] = []
  let count = 0
  for (const [name, bytes] of cases) {
    const { verified, read } = await outcomeOf(bytes)
    if (!named.test(verified)) wrong.push(`${name}: verify says ${verified}`)
    if (read !== 'right' && !named.test(read)) wrong.push(`${name}: reading gives ${read}`)
    count += 1
  }
  t.strictSame(wrong, [])
  return count
}

function* rearranged(): Generator<readonly [string, Buffer]> {
  const parts = frames.map(({ offset, size }) => snapshot.subarray(offset, offset + size))
  const rebuilt = (pieces: readonly Buffer[]): Buffer =>
    Buffer.concat([snapshot.subarray(0, start), ...pieces, snapshot.subarray(-footerSize)])
  for (const [i, part] of parts.entries()) {
    const others = parts.filter((_, number) => number !== i)
    yield [`${i} dropped`, rebuilt(others)]
    yield [`${i} doubled`, rebuilt(parts.toSpliced(i, 0, part))]
    for (const [j, other] of parts.entries()) {
      if (other.equals(part)) continue
      yield [`${i} moved to ${j}`, rebuilt(others.toSpliced(j, 0, part))]
      yield [`${i} in the place of ${j}`, rebuilt(parts.with(j, part))]
      yield [`${i} and ${j} swapped`, rebuilt(parts.with(i, other).with(j, part))]
    }
  }
}

async function* grafted(): AsyncGenerator<readonly [string, Buffer]> {
  const other = await build(makeStreams(9))
  for (const { offset, size, type } of frames) {
    const found = framesOf(other).find((frame) => frame.offset === offset && frame.size === size)
    const bytes = Buffer.from(snapshot)
    other.copy(bytes, offset, offset, offset + size)
    if (found?.type === type && !bytes.equals(snapshot)) yield [`${type} at ${offset}`, bytes]
  }
  yield ['its footer', Buffer.concat([snapshot.subarray(0, -footerSize), other.subarray(-footerSize)])]
}

await t.test('the snapshot itself is whole', async (t) => {
  t.strictSame(await outcomeOf(snapshot), { verified: 'intact', read: 'right' })
  t.strictSame([...new Set(frames.map(({ type }) => type))].sort(), [
    'block',
    'hole',
    'page',
    'repeat',
    'root'
  ])
})

await t.test('frames dropped, doubled, moved, swapped', async (t) => {
  t.ok((await checkAll(t, rearranged())) > 200)
})

await t.test('frames of another snapshot of the same layout', async (t) => {
  const cases: (readonly [string, Buffer])[] = []
  for await (const one of grafted()) cases.push(one)
  t.ok(cases.length >= 4, `${cases.length} grafts`)
  await checkAll(t, cases)
})

/** Numbers that a careless reader would allocate, loop or seek by. */
const forgedWords = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]

function* wordsForged(bytes: Uint8Array): Generator<readonly [string, Buffer]> {
  for (let offset = 0; offset + 4 <= bytes.length; offset++) {
    for (const word of forgedWords) {
      const forged = Buffer.from(bytes)
      forged.writeUInt32LE(word, offset)
      if (!forged.equals(bytes)) yield [`${word} at ${offset}`, forged]
    }
  }
}

await t.test('each word of page, root and frames forged, every checksum and digest right', async (t) => {
  const one = await buildOfStages([[makeStreams(2)[0] ?? zeroBytes(0)]], { chunkSize: 512 })
  const parts = await takeApart(one)
  t.strictSame(await outcomeOf(putTogether(parts), 1), { verified: 'intact', read: 'right' }, 'put together')
  const forged: (readonly [string, Buffer])[] = []
  for (const [name, page] of wordsForged(parts.page))
    forged.push([`page: ${name}`, putTogether({ ...parts, page })])
  for (const [name, root] of wordsForged(parts.root))
    forged.push([`root: ${name}`, enclose(one.subarray(0, framesOf(one).at(-1)?.offset), parts.header, root)])
  for (const { offset, size, type } of framesOf(one).slice(0, -2)) {
    for (const [name, frame] of wordsForged(one.subarray(offset, offset + size).subarray(0, 24))) {
      const bytes = Buffer.from(one)
      bytes.set(frame, offset)
      bytes.writeUInt32LE(crc32(bytes.subarray(offset + 4, offset + size)), offset)
      forged.push([`${type} at ${offset}: ${name}`, bytes])
    }
  }
  const wrong: string[] = []
  let held = 0 // what was allocated and not freed yet: 2 GiB would show, touched or not
  for (const [name, bytes] of forged) {
    const { verified, read } = await outcomeOf(bytes, 1)
    held = Math.max(held, Math.round(process.memoryUsage().arrayBuffers / 2 ** 20))
    // Counts for people may say anything, and a word that is reserved too.
    if (verified !== 'intact' && !named.test(verified)) wrong.push(`${name}: verify says ${verified}`)
    if (read !== 'right' && !named.test(read)) wrong.push(`${name}: reading gives ${read}`)
    if (verified === 'intact' && read !== 'right') wrong.push(`${name}: intact, but reading gives ${read}`)
  }
  t.strictSame(wrong, [])
  t.ok(forged.length > 2000, `${forged.length} forgeries`)
  t.ok(held < 1000, `no forged size was allocated: at most ${held} MiB were held`)
})
