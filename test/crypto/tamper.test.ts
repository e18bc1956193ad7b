import t from 'tap'
import { readSlots } from '../../lib/crypto/slots.js'
import { footerSize } from '../../lib/format/footer.js'
import { encodeHeader } from '../../lib/format/header.js'
import { openSnapshot, verifySnapshot } from '../../lib/index.js'
import { formatLimits } from '../../lib/limits.js'
import { randomBytes, repeatBytes, zeroBytes } from '../helpers/data.js'
import { describeError } from '../helpers/errors.js'
import {
  buildSealed,
  bytesSource,
  headerOf,
  makeRsaPair,
  sealedFrames,
  slotsFor,
  streamNames
} from './sealed.js'

const { publicKey, privateKey: identity } = makeRsaPair()
const dataKey = randomBytes(32, 1)
const keySlots = slotsFor(dataKey, publicKey)
const { keySlotCount, keySlotSize } = formatLimits
const slotsSize = keySlotCount * keySlotSize

const settings = {
  fixed: { chunkSize: 512 },
  cdc: { chunkSize: 512, cdc: true }
} as const
type Kind = keyof typeof settings

/** Data, holes and repeats, as small as they come: another seed gives frames of the same sizes when fixed. */
function makeStreams(kind: Kind, seed: number): Buffer[] {
  const line = repeatBytes(randomBytes(16, seed), 32)
  const other = repeatBytes(randomBytes(16, seed + 1), 32)
  if (kind === 'cdc') return [Buffer.concat([line, zeroBytes(2048), other, line, line])]
  const disk = Buffer.concat([line, zeroBytes(2048), other, zeroBytes(512), line, line, other])
  return [disk, Buffer.concat([line, randomBytes(60, seed + 2)])]
}
const kinds = {
  fixed: { ...settings.fixed, streams: makeStreams('fixed', 2) },
  cdc: { ...settings.cdc, streams: makeStreams('cdc', 2) }
} as const

interface Built {
  readonly snapshot: Buffer
  readonly headerSize: number
  readonly framesOffset: number
  readonly footerOffset: number
}

async function setUp(kind: Kind): Promise<Built> {
  const snapshot = await buildSealed({ ...kinds[kind], dataKey, keySlots })
  const headerSize = encodeHeader(headerOf(kinds[kind])).length
  return {
    snapshot,
    headerSize,
    framesOffset: headerSize + slotsSize,
    footerOffset: snapshot.length - footerSize
  }
}

/** What `verify` says, and what reading every stream whole gives. */
async function outcomeOf(kind: Kind, snapshot: Uint8Array): Promise<{ verified: string; read: string }> {
  const source = bytesSource(snapshot)
  const verify = verifySnapshot(source, { identity, concurrency: 0 }).then(() => 'intact', describeError)
  const read = async (): Promise<string> => {
    const opened = await openSnapshot(source, { identity })
    for (const [i, bytes] of kinds[kind].streams.entries()) {
      const found = await opened.read(streamNames[i] ?? '', 0, bytes.length)
      if (!found.equals(bytes)) return 'WRONG DATA'
    }
    return 'right'
  }
  const [verified, found] = await Promise.all([verify, read().catch(describeError)])
  return { verified, read: found }
}

/** An outcome without the words: class and code of the errors. */
function codesOf({ verified, read }: { verified: string; read: string }): string {
  return [verified, read].map((text) => text.replace(/:.*/s, '')).join(' / ')
}

function flipped(snapshot: Buffer, offset: number, bit = offset & 7): Buffer {
  const damaged = Buffer.from(snapshot)
  damaged[offset] = (damaged[offset] ?? 0) ^ (1 << bit)
  return damaged
}

/** How often each outcome came. */
async function outcomesOfFlips(kind: Kind, snapshot: Buffer, start: number, end: number): Promise<string[]> {
  const seen = new Set<string>()
  for (let offset = start; offset < end; offset++)
    seen.add(codesOf(await outcomeOf(kind, flipped(snapshot, offset))))
  return [...seen].sort()
}

for (const kind of ['fixed', 'cdc'] as const) {
  await t.test(`${kind}: every byte of header, used slot, frames and footer flipped is found`, async (t) => {
    const { snapshot, headerSize, framesOffset, footerOffset } = await setUp(kind)
    t.strictSame(await outcomeOf(kind, snapshot), { verified: 'intact', read: 'right' })
    t.strictSame(await outcomesOfFlips(kind, snapshot, 0, headerSize), [
      'CorruptError BAD_CHECKSUM / CorruptError BAD_CHECKSUM',
      'CorruptError BAD_STRUCTURE / CorruptError BAD_STRUCTURE', // the header's size
      'CorruptError NOT_A_SNAPSHOT / CorruptError NOT_A_SNAPSHOT'
    ])
    if (kind === 'fixed')
      // the slots of both are the same bytes
      t.strictSame(await outcomesOfFlips(kind, snapshot, headerSize, headerSize + keySlotSize), [
        'CorruptError BAD_CHECKSUM / CorruptError BAD_CHECKSUM'
      ])
    // Frames of holes, repeats and other pages are not read for data, and so cannot make it wrong.
    t.strictSame(await outcomesOfFlips(kind, snapshot, framesOffset, footerOffset), [
      'CorruptError BAD_CHECKSUM / CorruptError BAD_CHECKSUM',
      'CorruptError BAD_CHECKSUM / right',
      'CorruptError BAD_STRUCTURE / CorruptError BAD_CHECKSUM',
      'CorruptError BAD_STRUCTURE / right'
    ])
    t.strictSame(await outcomesOfFlips(kind, snapshot, footerOffset, snapshot.length), [
      'CorruptError BAD_CHECKSUM / CorruptError BAD_CHECKSUM',
      'CorruptError INCOMPLETE / CorruptError INCOMPLETE' // the magic
    ])
  })

  await t.test(`${kind}: frames dropped, doubled, swapped, moved`, async (t) => {
    const { snapshot, framesOffset, footerOffset } = await setUp(kind)
    const frames = sealedFrames(snapshot, framesOffset, footerOffset)
    const bytesOf = frames.map(({ start, end }) => snapshot.subarray(start, end))
    const rebuilt = (pieces: readonly Buffer[]): Buffer =>
      Buffer.concat([snapshot.subarray(0, framesOffset), ...pieces, snapshot.subarray(footerOffset)])
    t.equal(frames.length, kind === 'fixed' ? 10 : 7, 'every type of frame, and some twice')
    const seen = new Set<string>()
    let sameSizeCount = 0
    for (const [i, frame] of bytesOf.entries()) {
      const others = bytesOf.filter((_, number) => number !== i)
      seen.add(codesOf(await outcomeOf(kind, rebuilt(others))))
      seen.add(codesOf(await outcomeOf(kind, rebuilt(bytesOf.toSpliced(i, 0, frame)))))
      for (const [j, other] of bytesOf.entries()) {
        if (j === i) continue
        const moved = await outcomeOf(kind, rebuilt(others.toSpliced(j, 0, frame)))
        const swapped = await outcomeOf(kind, rebuilt(bytesOf.with(i, other).with(j, frame)))
        seen.add(codesOf(moved)).add(codesOf(swapped))
        if (frame.length !== other.length) continue
        // Sizes, and so the places of all other frames, stay: only the seal can tell.
        const replaced = await outcomeOf(kind, rebuilt(bytesOf.with(j, frame)))
        sameSizeCount += 1
        for (const { verified } of [swapped, replaced])
          t.match(
            verified,
            /^CorruptError BAD_SEAL: a\.st is damaged at byte \d+: what is there was not sealed/
          )
      }
    }
    t.ok(kind === 'cdc' || sameSizeCount >= 2, `${sameSizeCount} pairs of frames of one size`)
    for (const codes of seen)
      t.match(codes, /^CorruptError BAD_(SEAL|STRUCTURE|CHECKSUM) \/ (CorruptError BAD_\w+|right)$/)
  })

  await t.test(`${kind}: frames of another snapshot that the same keys open`, async (t) => {
    const { snapshot, framesOffset, footerOffset, headerSize } = await setUp(kind)
    const otherKey = randomBytes(32, 77)
    const otherStreams = makeStreams(kind, 9)
    const other = await buildSealed({
      ...kinds[kind],
      streams: otherStreams,
      dataKey: otherKey,
      keySlots: slotsFor(otherKey, publicKey)
    })
    const graft = (start: number, end: number): Buffer => {
      const grafted = Buffer.from(snapshot)
      other.copy(grafted, start, start, end)
      return grafted
    }
    const seal = /^CorruptError BAD_SEAL: a\.st is damaged at byte \d+: what is there was not sealed/
    let count = 0
    const isSameLayout = kind === 'fixed' && other.length === snapshot.length
    for (const { start, end } of isSameLayout ? sealedFrames(snapshot, framesOffset, footerOffset) : []) {
      t.match((await outcomeOf(kind, graft(start, end))).verified, seal)
      count += 1
    }
    t.equal(count > 0, kind === 'fixed', `${count} frames grafted`)
    const footer = Buffer.concat([snapshot.subarray(0, footerOffset), other.subarray(-footerSize)])
    t.match((await outcomeOf(kind, footer)).verified, seal, 'its footer')
    t.match((await outcomeOf(kind, graft(headerSize, framesOffset))).verified, seal, 'its key slots')
    const body = Buffer.concat([snapshot.subarray(0, framesOffset), other.subarray(framesOffset)])
    t.match((await outcomeOf(kind, body)).verified, seal, 'all its frames and its footer')
  })

  await t.test(`${kind}: cut off or added to anywhere`, async (t) => {
    const { snapshot, framesOffset } = await setUp(kind)
    const ends = Array.from({ length: snapshot.length - framesOffset }, (_, i) => framesOffset + i)
    const seen = new Set<string>()
    for (const end of ends) seen.add(codesOf(await outcomeOf(kind, snapshot.subarray(0, end))))
    t.strictSame([...seen], ['CorruptError INCOMPLETE / CorruptError INCOMPLETE'])
    const twice = Buffer.concat([snapshot, snapshot.subarray(-footerSize)])
    t.match((await outcomeOf(kind, twice)).verified, /^CorruptError BAD_SEAL: /, 'its own footer again')
  })
}

await t.test('a flip in an empty slot does no harm to the others, and shows as a damaged slot', async (t) => {
  const { snapshot, headerSize, framesOffset } = await setUp('fixed')
  const area = snapshot.subarray(headerSize, framesOffset)
  const wrong: number[] = []
  for (let offset = keySlotSize; offset < slotsSize; offset++) {
    const slots = readSlots(flipped(area, offset), 'a.st')
    const types = slots.slice(1).map((slot) => slot?.type ?? '')
    const expected = types.map((_, i) => (i + 1 === Math.floor(offset / keySlotSize) ? 'damaged' : ''))
    if (types.join() !== expected.join()) wrong.push(offset)
  }
  t.strictSame(wrong, [])
  for (let offset = headerSize + keySlotSize; offset < framesOffset; offset += 613)
    t.strictSame(await outcomeOf('fixed', flipped(snapshot, offset)), { verified: 'intact', read: 'right' })
})

await t.test('the header is bound: another valid header in front breaks every seal', async (t) => {
  const { snapshot, headerSize } = await setUp('fixed')
  const header = encodeHeader({ ...headerOf(kinds.fixed), profile: 'generix' })
  t.equal(header.length, headerSize)
  const { verified, read } = await outcomeOf('fixed', Buffer.concat([header, snapshot.subarray(headerSize)]))
  const message = `CorruptError BAD_SEAL: a.st is damaged at byte ${snapshot.length - footerSize}: what is there was not sealed for this place in this snapshot`
  t.strictSame([verified, read], [message, message])
})
