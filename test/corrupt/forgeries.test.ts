import t from 'tap'
import { createBlockEncoder } from '../../lib/compression/codecs.js'
import { encodeHoleFrame, encodeRepeatFrame } from '../../lib/format/frame.js'
import type { ChunkEntry, Entry } from '../../lib/format/index-page.js'
import type { Handle, IndexRootFields, PageRef } from '../../lib/format/index-root.js'
import { HexzError, openSnapshot, recoverStream, verifySnapshot } from '../../lib/index.js'
import { createRandom } from '../helpers/data.js'
import { memorySource } from '../helpers/snapshots.js'
import { blockFrame, chunkEntry, createForgery, skippableFrame } from './forge.js'

/**
 * Snapshots that are right but for one or two lies, each under right checksums and digests. Whatever the lie, nobody gives
 * other bytes as a success, and the commands agree: what `verify` calls intact is read and recovered whole, and `recover`
 * calls whole only what `verify` does.
 */

type Random = (below: number) => number

function randomOf(seed: number): Random {
  const random = createRandom(seed)
  return (below) => random.below(below)
}

const sizes = [1, 7, 512, 513, 4096]
const encoders = {
  raw: undefined,
  lz4: createBlockEncoder('lz4', 0),
  zstd: createBlockEncoder('zstd', 3)
} as const

interface Placed {
  readonly raw: Buffer
  readonly handle: Handle
}

/** Lies about an entry. */
const entryLies: ((entry: ChunkEntry, random: Random, placed: readonly Placed[]) => Partial<ChunkEntry>)[] = [
  ({ kind }) => ({ kind: kind === 'block' ? 'repeat' : 'block' }),
  ({ rawSize }) => ({ rawSize: rawSize + 1 }),
  ({ rawSize }) => ({ rawSize: Math.max(1, rawSize - 1) }),
  ({ storedSize }) => ({ storedSize: storedSize + 1 }),
  ({ storedSize }) => ({ storedSize: Math.max(25, storedSize - 1) }),
  ({ blockOffset }) => ({ blockOffset: blockOffset + 1 }),
  ({ blockOffset }) => ({ blockOffset: Math.max(0, blockOffset - 16) }),
  () => ({ innerOffset: 1 }),
  () => ({ digest: Buffer.alloc(32) }),
  (_, random, placed) => {
    const other = placed[random(placed.length)]
    return other === undefined ? {} : { blockOffset: other.handle.offset, storedSize: other.handle.size }
  },
  (_, random, placed) => {
    const other = placed[random(placed.length)]
    return other === undefined ? {} : chunkEntry('repeat', other.raw, other.handle)
  }
]

const refLies: ((ref: PageRef, random: Random) => Partial<PageRef>)[] = [
  ({ stream }) => ({ stream: 1 - stream }),
  ({ streamOffset }) => ({ streamOffset: streamOffset + 1 }),
  ({ entryCount }) => ({ entryCount: entryCount + 1 }),
  ({ handle }) => ({ handle: { ...handle, offset: handle.offset - 1 } }),
  ({ handle }) => ({ handle: { ...handle, size: handle.size + 1 } }),
  () => ({ digest: Buffer.alloc(32) }),
  (_, random) => ({ handle: { offset: 2 ** 47 + random(9), size: 17 } })
]

function change<T>(list: T[], index: number, changed: Partial<T>): void {
  const one = list[index]
  if (one !== undefined) list[index] = { ...one, ...changed }
}

function forged(random: Random): Buffer {
  const forgery = createForgery(['disk', 'memory'])
  const placed: Placed[] = []
  const lie = random(12)
  const lieAt = random(8)
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T
  let step = 0
  for (const stream of [0, 1]) {
    let offset = 0
    for (let page = 0; page < 2; page++) {
      const start = offset
      let entries: Entry[] = []
      for (let count = 1 + random(4); count > 0; count--) {
        const isLie = step++ === lieAt
        const what = random(10)
        const known = placed[random(placed.length)]
        if (what < 5 || (what < 7 && placed.length === 0)) {
          const raw = Buffer.alloc(pick(sizes), `${random(1e6)} `)
          const codec = pick(['raw', 'lz4', 'zstd'] as const)
          const stored = encoders[codec]?.(raw)
          const fields = {
            codec: stored === undefined ? ('raw' as const) : codec,
            stream,
            rawSize: raw.length
          }
          if (isLie && lie === 1) fields.stream = 1 - stream
          if (isLie && lie === 2) fields.rawSize += 1
          const at = isLie && lie === 3 ? pick([offset + 1, 0, 2 ** 50]) : offset
          const nested = isLie && lie === 4 ? [skippableFrame(blockFrame(offset, raw, { stream }))] : []
          const inner = nested.map((frame) => ({
            offset: forgery.add(frame).offset + 16,
            size: frame.length - 16
          }))
          const handle = inner[0] ?? forgery.add(blockFrame(at, stored ?? raw, fields))
          placed.push({ raw, handle })
          const half = raw.length >> 1
          if (half > 0 && random(4) === 0) {
            entries.push(chunkEntry('block', raw.subarray(0, half), handle))
            entries.push(chunkEntry('block', raw.subarray(half), handle, { innerOffset: half }))
          } else entries.push(chunkEntry('block', raw, handle))
          offset += raw.length
        } else if (what < 8 && known !== undefined) {
          const list = [known, ...(random(2) === 0 ? [pick(placed)] : [])]
          const size = list.reduce((sum, { raw }) => sum + raw.length, 0)
          const named = list.map(
            ({ handle }) => handle.offset + (isLie && lie === 5 ? pick([1, -16, 2 ** 40]) : 0)
          )
          forgery.add(encodeRepeatFrame(stream, isLie && lie === 6 ? size + pick([1, 2 ** 31]) : size, named))
          for (const { raw, handle } of list) entries.push(chunkEntry('repeat', raw, handle))
          offset += size
        } else {
          const size = pick([1, 512, 5000])
          forgery.add(encodeHoleFrame(stream, isLie && lie === 7 ? pick([size + 1, 2 ** 53 - 1]) : size))
          entries.push({ kind: 'hole', rawSize: size })
          offset += size
        }
      }
      const at = random(entries.length)
      const entry = entries[at]
      if (page === random(2) && stream === lieAt % 2) {
        if (lie === 8 && entry !== undefined && entry.kind !== 'hole')
          change(entries, at, pick(entryLies)(entry, random, placed))
        if (lie === 8 && entry?.kind === 'hole') change(entries, at, { rawSize: entry.rawSize + 1 })
        if (lie === 9)
          entries = pick([entries.toReversed(), entries.slice(1), [...entries, ...entries.slice(-1)]])
      }
      if (entries.length > 0) forgery.addPage({ stream, streamOffset: start, entries })
    }
  }
  return forgery.end((root): IndexRootFields => {
    const pages = [...root.pages]
    const streams = [...root.streams]
    const at = random(pages.length)
    const ref = pages[at]
    if (lie === 10 && ref !== undefined) change(pages, at, pick(refLies)(ref, random))
    if (lie === 11) {
      const size = (streams[0]?.size ?? 0) + pick([1, -1, 2 ** 52])
      change(streams, 0, pick([{ size, holeSize: size }, { name: 'memory' }, { size }]))
    }
    return { ...root, streams, pages }
  })
}

const named = (error: unknown): string => {
  if (error instanceof HexzError) return String(error.code)
  throw error
}

/** What is wrong with what the commands say, or an empty text. */
async function judge(bytes: Buffer): Promise<{ readonly verify: string; readonly wrong: string }> {
  const source = (): ReturnType<typeof memorySource> => memorySource(bytes, 'f.st')
  const verify = await verifySnapshot(source(), { concurrency: 0 }).then(() => 'intact', named)
  const read = async (): Promise<readonly (Uint8Array | string)[]> => {
    const snapshot = await openSnapshot(source())
    const size = (name: string): number =>
      Math.min(1e6, snapshot.streams.find((stream) => stream.name === name)?.size ?? 0)
    return Promise.all(
      ['disk', 'memory'].map((name) =>
        snapshot.read(name, 0, size(name)).catch((error: unknown) => named(error))
      )
    )
  }
  const extracted = await read().catch((error: unknown) => [named(error), named(error)])
  for (const stream of [0, 1]) {
    const written = Buffer.alloc(1e6)
    const writeAt = (offset: number, piece: Uint8Array): Promise<void> => {
      if (offset < written.length) written.set(piece.subarray(0, written.length - offset), offset)
      return Promise.resolve()
    }
    const result = await recoverStream(source(), { writeAt }, { stream, concurrency: 0 }).catch(named)
    const plain = extracted[stream]
    const isRead = plain instanceof Uint8Array
    if (verify === 'intact' && !isRead) return { verify, wrong: `intact, and not read: ${plain ?? ''}` }
    if (typeof result === 'string') return { verify, wrong: `recover fails: ${result}` }
    if (result.isComplete !== (verify === 'intact'))
      return { verify, wrong: `verify says ${verify}, recover ${JSON.stringify(result)}` }
    if (!isRead) continue
    for (const { start, end } of result.recovered)
      if (!written.subarray(start, end).equals(plain.subarray(start, Math.min(end, written.length))))
        return { verify, wrong: `other bytes in ${start} to ${end}` }
  }
  return { verify, wrong: '' }
}

await t.test('whatever the lie, the commands agree and give no other bytes', async (t) => {
  const wrong: string[] = []
  const verdicts = new Map<string, number>()
  for (let seed = 1; seed <= 600; seed++) {
    const said = await judge(forged(randomOf(seed)))
    verdicts.set(said.verify, (verdicts.get(said.verify) ?? 0) + 1)
    if (said.wrong !== '') wrong.push(`${seed}: ${said.wrong}`)
  }
  t.strictSame(wrong, [])
  t.ok((verdicts.get('BAD_STRUCTURE') ?? 0) > 200, JSON.stringify([...verdicts]))
  t.ok((verdicts.get('intact') ?? 0) > 50, 'lies that met nothing, and none')
})
