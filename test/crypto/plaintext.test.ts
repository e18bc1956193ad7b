import t from 'tap'
import { encodeHeader } from '../../lib/format/header.js'
import { build, openSnapshot } from '../../lib/index.js'
import { formatLimits } from '../../lib/limits.js'
import { hex } from '../helpers/bytes.js'
import { mixedBytes, randomBytes, textBytes, zeroBytes } from '../helpers/data.js'
import { buildSealed, bytesSource, headerOf, makeRsaPair, slotsFor, streamNames } from './sealed.js'
import { Writable } from 'node:stream'
import { blake3 } from '../../lib/format/digest.js'

const { publicKey, privateKey: identity } = makeRsaPair()
const dataKey = randomBytes(32, 1)
const keySlots = slotsFor(dataKey, publicKey)
const slotsSize = formatLimits.keySlotCount * formatLimits.keySlotSize
const text = textBytes(40_000, 1)
const streams = [
  Buffer.concat([text, zeroBytes(20_000), mixedBytes(60_000, 2, 512), text]),
  textBytes(9_000, 3)
]
const settings = [
  { chunkSize: 1024, codec: 'raw' },
  { chunkSize: 2048, codec: 'lz4', cdc: true },
  { chunkSize: 4096, codec: 'zstd' }
] as const

/** All that a snapshot knows of its contents. */
async function secretsOf(snapshot: Buffer): Promise<Map<string, Buffer>> {
  const secrets = new Map<string, Buffer>()
  const opened = await openSnapshot(bytesSource(snapshot), { identity })
  secrets.set('snapshot digest', Buffer.from(opened.digest))
  for (const [number, ref] of [...opened.root.pages].entries()) {
    secrets.set(`digest of page ${number}`, Buffer.from(ref.digest))
    const { entries } = await opened.page(number)
    for (const [i, entry] of entries.entries())
      if (entry.kind !== 'hole') secrets.set(`digest of chunk ${number}.${i}`, Buffer.from(entry.digest))
  }
  for (const [i, bytes] of streams.entries()) {
    secrets.set(`digest of stream ${i}`, Buffer.from(blake3(bytes)))
    for (let start = 0; start + 16 <= bytes.length; start += 16) {
      const piece = bytes.subarray(start, start + 16)
      if (piece.some((byte) => byte !== 0)) secrets.set(`bytes ${start} of stream ${i}`, piece)
    }
  }
  await opened.close()
  return secrets
}

const found = (secrets: Map<string, Buffer>, bytes: Buffer): string[] =>
  [...secrets].filter(([, secret]) => bytes.includes(secret)).map(([name]) => name)

for (const options of settings) {
  await t.test(`nothing of the contents stands in clear: ${JSON.stringify(options)}`, async (t) => {
    const snapshot = await buildSealed({ ...options, streams, dataKey, keySlots })
    const headerSize = encodeHeader(headerOf({ ...options, streams })).length
    const secrets = await secretsOf(snapshot)
    const names = streamNames.map((name): [string, Buffer] => [`name ${name}`, Buffer.from(name)])
    t.ok(secrets.size > 5000, `${secrets.size} secrets are looked for`)
    t.strictSame(found(secrets, snapshot), [])
    t.strictSame(found(new Map(names), snapshot.subarray(headerSize + slotsSize)), [])
    t.strictSame(
      found(new Map(names), snapshot.subarray(0, headerSize)),
      names.map(([name]) => name),
      'names stand in the header'
    )

    // The same search on the same snapshot, not encrypted: it finds what is there to be found.
    const [source, memory] = streams.map((bytes) => [bytes] as unknown as AsyncIterable<Buffer>)
    if (source === undefined || memory === undefined) throw new Error('two streams are needed')
    const pieces: Buffer[] = []
    const target = new Writable({
      write(piece: Buffer, _, done) {
        pieces.push(Buffer.from(piece))
        done()
      }
    })
    const totals = await build({ ...options, source, memory, target, concurrency: 1 })
    const inClear = new Set(found(secrets, Buffer.concat(pieces)))
    t.notOk(inClear.has('snapshot digest'), 'the header is part of it, and another')
    t.ok(Buffer.concat(pieces).includes(Buffer.from(totals.snapshotDigest ?? [])))
    t.ok(inClear.size > 500, `${inClear.size} of them stand in the plain snapshot`)
  })
}

await t.test('under one data key the bytes are the same, whatever the concurrency', async (t) => {
  const options = { chunkSize: 1024, cdc: true, streams, dataKey, keySlots }
  const [first, ...others] = await Promise.all(
    [0, 1, 8].map((concurrency) => buildSealed({ ...options, concurrency }))
  )
  for (const other of others) t.ok(first?.equals(other))
  const again = await openSnapshot(bytesSource(others[1] ?? Buffer.alloc(0)), { identity })
  for (const [i, bytes] of streams.entries())
    t.ok((await again.read(streamNames[i] ?? '', 0, bytes.length)).equals(bytes))
})

await t.test('two snapshots of one source share no 32 bytes behind the slots', async (t) => {
  const built = await Promise.all(
    [1, 2].map((seed) => {
      const key = randomBytes(32, seed)
      return buildSealed({
        chunkSize: 4096,
        codec: 'raw',
        streams,
        dataKey: key,
        keySlots: slotsFor(key, publicKey)
      })
    })
  )
  const start = encodeHeader(headerOf({ chunkSize: 4096, codec: 'raw', streams })).length + slotsSize
  const [a, b] = built.map((bytes) => bytes.subarray(start))
  if (a === undefined || b === undefined) throw new Error('two are needed')
  t.equal(a.length, b.length)
  const windows = new Set<string>()
  for (let at = 0; at + 32 <= a.length; at += 32) windows.add(hex(a.subarray(at, at + 32)))
  let shared = 0
  for (let at = 0; at + 32 <= b.length; at++) if (windows.has(hex(b.subarray(at, at + 32)))) shared += 1
  t.equal(shared, 0)
})
