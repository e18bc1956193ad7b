import { existsSync, statSync } from 'node:fs'
import t from 'tap'
import { mixedBytes, createRandom, randomBytes, zeroBytes } from '../helpers/data.js'
import {
  bytesOfChunks,
  connectRaw,
  enter,
  errorOf,
  greet,
  goData,
  optionBytes,
  readRange,
  requestBytes,
  takeChunk,
  takeChunks,
  takeOptionReplies,
  type RawClient
} from '../helpers/nbd-client.js'
import { serveBytes } from '../helpers/serving.js'

const KiB = 1024
const MiB = 1024 * KiB
const disk = Buffer.concat([
  mixedBytes(700_001, 1),
  zeroBytes(3 * MiB),
  mixedBytes(2 * MiB, 2),
  randomBytes(999, 7)
])
const memory = mixedBytes(100_000, 3)

/** A simple reply, and its data when it tells of no error. */
async function takeSimple(client: RawClient, length: number): Promise<{ error: number; bytes: Buffer }> {
  const header = await client.take(16)
  if (header.readUInt32BE(0) !== 0x67446698 || header.readBigUInt64BE(8) !== 1n)
    throw new Error('no simple reply to request 1')
  const error = header.readUInt32BE(4)
  return { error, bytes: error === 0 ? await client.take(length) : Buffer.alloc(0) }
}

await t.test('reads, structured and simple, of every size and place', async (t) => {
  const { path } = await serveBytes(t, [disk, memory], { cdc: true, chunkSize: 16 * KiB })
  const structured = await enter(path)
  const simple = await enter(path, { structured: false })
  const random = createRandom(4)
  const ranges: [number, number][] = [
    [0, 1],
    [0, disk.length],
    [disk.length - 1, 1],
    [disk.length, 0],
    [0, 0],
    [700_000, 2],
    [700_001, 3 * MiB],
    [256 * KiB, 256 * KiB],
    [5, 256 * KiB + 1],
    [9, 2 * MiB]
  ]
  for (let i = 0; i < 40; i++) {
    const offset = random.below(disk.length)
    ranges.push([offset, random.below(Math.min(1_500_000, disk.length - offset))])
  }
  for (const [offset, length] of ranges) {
    const expected = disk.subarray(offset, offset + length)
    if (length > 0)
      t.ok((await readRange(structured, offset, length)).equals(expected), `${length} at ${offset}`)
    simple.send(requestBytes({ offset, length }))
    const { error, bytes } = await takeSimple(simple, length)
    t.equal(error, 0)
    t.ok(bytes.equals(expected), `${length} at ${offset}, simple`)
  }
  structured.send(requestBytes({ length: 0 }))
  t.match(await takeChunk(structured), { type: 0, isLast: true, payload: { length: 0 } })
  const other = await enter(path, { name: 'memory' })
  t.ok((await readRange(other, 1, 99_999)).equals(memory.subarray(1)))
})

await t.test('a hole is told, not sent; unless the reply must be whole', async (t) => {
  const { path } = await serveBytes(t, [disk], { chunkSize: 16 * KiB })
  const client = await enter(path)
  client.send(requestBytes({ offset: MiB, length: 8192 }))
  t.match(await takeChunk(client), { type: 2, isLast: true, payload: { length: 12 } })
  client.send(requestBytes({ offset: 0, length: disk.length }))
  const chunks = await takeChunks(client)
  t.equal(chunks.length, Math.ceil(disk.length / (256 * KiB)))
  t.equal(chunks.filter(({ type }) => type === 2).length, 11, 'pieces of 256 KiB that lie in the hole')
  t.same(
    chunks.map(({ isLast }) => isLast),
    chunks.map((_, i) => i === chunks.length - 1)
  )
  t.ok(bytesOfChunks(chunks, 0, disk.length).equals(disk))

  const df = 1 << 2
  client.send(requestBytes({ flags: df, offset: 600_000, length: MiB }))
  const whole = await takeChunks(client)
  t.same(
    whole.map(({ type }) => type),
    [1]
  )
  t.ok(bytesOfChunks(whole, 600_000, MiB).equals(disk.subarray(600_000, 600_000 + MiB)))
  client.send(requestBytes({ flags: df, offset: 0, length: MiB + 1 }))
  t.same(errorOf(await takeChunk(client)), {
    error: 75,
    message: `a read may have ${MiB} bytes, not ${MiB + 1}`
  })
})

await t.test('what is no proper request is refused, and the connection goes on', async (t) => {
  const { path } = await serveBytes(t, [disk], { chunkSize: 16 * KiB })
  const structured = await enter(path, { allocation: true })
  const plain = await enter(path)
  const simple = await enter(path, { structured: false })
  const end = `ends behind the last byte, ${disk.length}`
  const cases: readonly (readonly [Parameters<typeof requestBytes>[0], number, string])[] = [
    [{ type: 3 }, 22, 'command 3 is not known here'],
    [{ type: 5, length: 4096 }, 22, 'command 5 is not known here'],
    [{ type: 65535 }, 22, 'command 65535 is not known here'],
    [{ type: 4, length: 4096 }, 1, 'a snapshot is read-only'],
    [{ type: 6, length: 4096 }, 1, 'a snapshot is read-only'],
    [{ offset: disk.length, length: 1 }, 22, `the range of 1 bytes ${end}`],
    [{ offset: 0, length: disk.length + 1 }, 22, `the range of ${disk.length + 1} bytes ${end}`],
    [{ offset: 2n ** 64n - 1n, length: 1 }, 22, `the range of 1 bytes ${end}`],
    [{ offset: 2n ** 63n, length: 0 }, 22, `the range of 0 bytes ${end}`],
    [{ offset: 0, length: 0xffffffff }, 22, `the range of 4294967295 bytes ${end}`],
    [{ flags: 1, length: 1 }, 22, 'command flags 1 are not known here'],
    [{ flags: 8, length: 1 }, 22, 'command flags 8 are not known here'],
    [{ type: 7, flags: 4, length: 1 }, 22, 'command flags 4 are not known here'],
    [{ type: 7, length: 0 }, 22, 'the range is empty']
  ]
  for (const [request, error, message] of cases) {
    structured.send(requestBytes({ ...request, cookie: 2n ** 64n - 1n }))
    const chunk = await takeChunk(structured)
    t.same(errorOf(chunk), { error, message })
    t.match(chunk, { cookie: 2n ** 64n - 1n, isLast: true })
    simple.send(requestBytes(request))
    t.same(await takeSimple(simple, 0), { error, bytes: Buffer.alloc(0) })
  }
  simple.send(requestBytes({ flags: 4, length: 1 }))
  t.equal((await takeSimple(simple, 0)).error, 22, 'no fragments are promised without structured replies')
  plain.send(requestBytes({ type: 7, length: 1 }))
  t.equal(errorOf(await takeChunk(plain)).message, 'no metadata context was negotiated')
  for (const length of [1, 70_000, 3 * MiB]) {
    structured.send(requestBytes({ type: 1, length }), randomBytes(length, 1))
    t.same(errorOf(await takeChunk(structured)), { error: 1, message: 'a snapshot is read-only' })
  }
  for (const client of [structured, plain])
    t.ok((await readRange(client, 3, 70_000)).equals(disk.subarray(3, 70_003)))
})

await t.test('block status', async (t) => {
  const { path } = await serveBytes(t, [disk], { chunkSize: 16 * KiB })
  const client = await enter(path, { allocation: true })
  const ask = async (offset: number, length: number, flags = 0): Promise<[number, number][]> => {
    client.send(requestBytes({ type: 7, flags, offset, length }))
    const { type, isLast, payload } = await takeChunk(client)
    t.same([type, isLast, payload.readUInt32BE(0)], [5, true, 1])
    return Array.from({ length: (payload.length - 4) / 8 }, (_, i) => [
      payload.readUInt32BE(4 + 8 * i),
      payload.readUInt32BE(8 + 8 * i)
    ])
  }
  const all = await ask(0, disk.length)
  t.equal(
    all.reduce((sum, [size]) => sum + size, 0),
    disk.length
  )
  t.ok(all.some(([size, state]) => state === 3 && size > 2.9 * MiB))
  all.forEach(([, state], i) => i > 0 && t.not(state, all[i - 1]?.[1], 'neighbours differ'))
  let offset = 0
  for (const [size, state] of all) {
    if (state === 3)
      t.ok(disk.subarray(offset, offset + size).equals(zeroBytes(size)), `${size} zeros at ${offset}`)
    offset += size
  }
  t.same(await ask(0, disk.length, 8), all.slice(0, 1), 'only one was wanted')
  t.same(await ask(2 * MiB + 1, 5), [[5, 3]])
  t.same(await ask(disk.length - 1, 1), [[1, 0]])
})

await t.test('many in flight are all answered, in any order, each once', async (t) => {
  const { path } = await serveBytes(t, [disk], { chunkSize: 64 * KiB })
  const client = await enter(path)
  const random = createRandom(5)
  const wanted = Array.from({ length: 500 }, () => {
    const offset = random.below(disk.length - 70_000)
    return { offset, length: 1 + random.below(70_000) }
  })
  client.send(...wanted.map((range, cookie) => requestBytes({ ...range, cookie })))
  const left = new Set(wanted.keys())
  while (left.size > 0) {
    const chunk = await takeChunk(client)
    const cookie = Number(chunk.cookie)
    const { offset, length } = wanted[cookie] ?? { offset: 0, length: 0 }
    if (!left.delete(cookie)) t.fail(`request ${cookie} is answered twice`)
    if (!bytesOfChunks([chunk], offset, length).equals(disk.subarray(offset, offset + length)))
      t.fail(`wrong bytes at ${offset}`)
  }
  client.send(requestBytes({ type: 2 }))
  t.equal((await client.rest()).length, 0, 'a farewell ends it without an answer')
})

await t.test('a farewell, or the end of the input, waits for what is in work', async (t) => {
  const { path } = await serveBytes(t, [disk], { chunkSize: 64 * KiB })
  for (const isFarewell of [true, false]) {
    const client = await enter(path, { structured: false })
    client.send(requestBytes({ offset: 1, length: 200_000 }))
    if (isFarewell) client.send(requestBytes({ type: 2 }))
    else client.socket.end()
    const { bytes } = await takeSimple(client, 200_000)
    t.ok(bytes.equals(disk.subarray(1, 200_001)))
    t.equal((await client.rest()).length, 0)
  }
})

await t.test('a message may come byte by byte', async (t) => {
  const { path } = await serveBytes(t, [disk], { chunkSize: 64 * KiB })
  const client = await greet(path)
  const trickle = async (bytes: Buffer): Promise<void> => {
    for (const byte of bytes) {
      client.send(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await trickle(optionBytes(8))
  t.same(
    (await takeOptionReplies(client)).map(({ type }) => type),
    [1]
  )
  await trickle(optionBytes(7, goData('disk')))
  t.equal((await takeOptionReplies(client)).at(-1)?.type, 1)
  await trickle(requestBytes({ type: 1, length: 3 }))
  await trickle(Buffer.from('abc'))
  t.equal(errorOf(await takeChunk(client)).error, 1)
  await trickle(requestBytes({ offset: 9, length: 1000 }))
  t.ok(bytesOfChunks(await takeChunks(client), 9, 1000).equals(disk.subarray(9, 1009)))
})

await t.test('a damaged chunk is an error of the reads that touch it, and of no others', async (t) => {
  const bytes = randomBytes(4 * MiB, 6)
  const spoil = (file: Buffer): void => void file.writeUInt8((file[3 * MiB] ?? 0) ^ 1, 3 * MiB)
  const { path, problems } = await serveBytes(t, [bytes], { chunkSize: 64 * KiB }, { spoil })
  const client = await enter(path)
  const simple = await enter(path, { structured: false })
  const bad = 47 * 64 * KiB // the block before the byte, whose frame headers came to less than a block
  client.send(requestBytes({ offset: bad + 5, length: 10 }))
  const chunk = await takeChunk(client)
  t.match(errorOf(chunk), { error: 5, message: /^x\.st is damaged at byte \d+: / })
  t.equal(chunk.type, 0x8002)
  t.equal(chunk.payload.readBigUInt64BE(chunk.payload.length - 8), BigInt(bad + 5), 'where the piece starts')
  simple.send(requestBytes({ offset: bad + 5, length: 10 }))
  t.equal((await takeSimple(simple, 0)).error, 5)
  t.match(problems, [/^x\.st is damaged at byte \d+: /, /^x\.st is damaged at byte \d+: /])

  client.send(requestBytes({ offset: 2 * MiB, length: 2 * MiB }))
  const chunks = await takeChunks(client)
  t.same(chunks.filter(({ type }) => type === 0x8002).length, 1, 'of a long read, the piece with the damage')
  t.equal(chunks.length, 8)
  const good = chunks.filter(({ type }) => type === 1)
  for (const { payload } of good) {
    const at = Number(payload.readBigUInt64BE(0))
    t.ok(payload.subarray(8).equals(bytes.subarray(at, at + payload.length - 8)))
  }
  t.ok((await readRange(client, 0, 2 * MiB)).equals(bytes.subarray(0, 2 * MiB)), 'the rest can be read')

  simple.send(requestBytes({ offset: 2 * MiB, length: 2 * MiB }))
  t.equal((await simple.take(16)).readUInt32BE(4), 0)
  const cut = await simple.rest()
  t.ok(cut.length < 2 * MiB, 'a long read whose reply has begun: the connection ends')
  t.ok(cut.equals(bytes.subarray(2 * MiB, 2 * MiB + cut.length)), 'and what came is right')
  t.ok((await readRange(client, 0, 100)).equals(bytes.subarray(0, 100)))
})

await t.test('closing: the socket goes, requests in work are answered, clients are let go', async (t) => {
  const { path, close } = await serveBytes(t, [disk], { chunkSize: 64 * KiB })
  t.equal(statSync(path).mode & 0o777, 0o700 & 0o777, 'only its owner may connect')
  const idle = await enter(path)
  const half = await greet(path)
  half.send(Buffer.from('IHAVE'))
  const busy = await enter(path, { structured: false })
  busy.send(requestBytes({ offset: 3, length: 900_000 }))
  await busy.take(1)
  await close()
  t.notOk(existsSync(path))
  t.equal((await idle.rest()).length, 0)
  t.equal((await half.rest()).length, 0)
  t.ok((await busy.rest()).subarray(15).equals(disk.subarray(3, 900_003)))
  await t.rejects(connectRaw(path), { code: 'ENOENT' })
})
