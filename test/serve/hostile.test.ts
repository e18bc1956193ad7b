import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { serveLimits } from '../../lib/limits.js'
import { createRandom, mixedBytes, randomBytes } from '../helpers/data.js'
import {
  clientFlags,
  connectRaw,
  enter,
  goData,
  greet,
  optionBytes,
  readRange,
  requestBytes,
  takeChunk,
  takeOptionReplies,
  u32,
  type RawClient
} from '../helpers/nbd-client.js'
import { serveBytes } from '../helpers/serving.js'

const KiB = 1024
const MiB = 1024 * KiB
const disk = mixedBytes(3 * MiB, 1)
const settings = { chunkSize: 64 * KiB }

/** That the server still works for others. */
async function isWell(t: Test, path: string, name: string): Promise<void> {
  const client = await enter(path)
  t.ok(
    (await readRange(client, 100, 70_000)).equals(disk.subarray(100, 70_100)),
    `${name}: others are served`
  )
  client.close()
}

await t.test('what is no message ends the connection that sent it, and no other', async (t) => {
  const { path, problems } = await serveBytes(t, [disk], settings)
  const cases: Record<string, (client: RawClient) => void> = {
    'unknown client flags': (client) => client.send(u32(4)),
    'all client flags': (client) => client.send(u32(0xffffffff)),
    'no option': (client) => client.send(clientFlags, Buffer.alloc(16, 'x')),
    'an option of 4 GiB': (client) =>
      client.send(clientFlags, Buffer.from('IHAVEOPT'), u32(7), u32(0xffffffff)),
    'an option of just too much': (client) =>
      client.send(clientFlags, Buffer.from('IHAVEOPT'), u32(99), u32(serveLimits.optionSkipMax + 1)),
    'an export that is not there': (client) => client.send(clientFlags, optionBytes(1, Buffer.from('swap'))),
    HTTP: (client) => client.send(Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'))
  }
  for (const [name, act] of Object.entries(cases)) {
    const client = await connectRaw(path)
    await client.take(18)
    act(client)
    t.equal((await client.rest()).length, 0, `${name}: closed without a word`)
  }
  for (const structured of [true, false]) {
    for (const bytes of [
      Buffer.alloc(28),
      Buffer.alloc(28, 0xff),
      requestBytes({ type: 1, length: 32 * MiB + 1 })
    ]) {
      const client = await enter(path, { structured })
      client.send(bytes)
      t.equal((await client.rest()).length, 0, 'closed')
    }
  }
  await isWell(t, path, 'after all this')
  t.same(problems, [])
})

await t.test('long option data is passed over', async (t) => {
  const { path } = await serveBytes(t, [disk], settings)
  const client = await greet(path)
  client.send(optionBytes(7, randomBytes(serveLimits.optionSizeMax + 1, 1)))
  const [reply] = await takeOptionReplies(client)
  t.equal(reply?.type, 0x80000009)
  client.send(optionBytes(12345, randomBytes(serveLimits.optionSizeMax, 1)))
  t.equal((await takeOptionReplies(client))[0]?.type, 0x80000001)
  client.send(optionBytes(7, goData('disk')))
  t.equal((await takeOptionReplies(client)).at(-1)?.type, 1)
})

await t.test('random bytes at every stage', async (t) => {
  const { path, problems } = await serveBytes(t, [disk], settings)
  const random = createRandom(11)
  const stages: (() => Promise<RawClient>)[] = [
    () => connectRaw(path),
    () => greet(path),
    () => enter(path),
    () => enter(path, { structured: false, allocation: false }),
    () => enter(path, { allocation: true })
  ]
  for (let i = 0; i < 100; i++) {
    const client = await (stages[i % stages.length] ?? stages[0])?.()
    if (client === undefined) break
    const noise = randomBytes(1 + random.below(3000), i)
    // The right start, so that more than the magic is looked at.
    if (i % 3 === 0) noise.set(i % stages.length < 2 ? Buffer.from('IHAVEOPT') : u32(0x25609513))
    client.send(noise)
    if (random.below(2) === 0) client.socket.end()
    else setImmediate(() => client.close())
    await once(client.socket, 'close')
  }
  await isWell(t, path, 'after 100 times noise')
  t.same(problems, [])
})

await t.test('clients that go away in the middle', async (t) => {
  const { path, problems } = await serveBytes(t, [disk], settings)
  const handshake = Buffer.concat([clientFlags, optionBytes(8), optionBytes(7, goData('')), requestBytes({})])
  for (let size = 0; size < handshake.length; size++) {
    const socket = connect(path, () => socket.write(handshake.subarray(0, size), () => socket.destroy()))
    await once(socket, 'close')
  }
  for (let i = 0; i < 20; i++) {
    const client = await enter(path)
    client.send(...Array.from({ length: 50 }, (_, cookie) => requestBytes({ cookie, length: MiB })))
    await client.take(1 + i * 50_000)
    client.close()
  }
  await isWell(t, path, 'after all have gone')
  t.same(problems, [])
})

await t.test('clients that ask and do not read hold up nobody, and little memory', async (t) => {
  const { path } = await serveBytes(t, [disk], settings)
  const stuck: RawClient[] = []
  for (let i = 0; i < 40; i++) {
    const client = await enter(path, { structured: i % 2 === 0 })
    client.socket.pause()
    client.send(...Array.from({ length: 500 }, (_, cookie) => requestBytes({ cookie, length: MiB })))
    stuck.push(client)
  }
  await isWell(t, path, 'beside 40 stuck clients')
  const memory = process.memoryUsage()
  const held = memory.external + memory.arrayBuffers
  t.ok(held < 40 * 500 * MiB * 0.02, `${Math.round(held / MiB)} MiB are held, of 20000 asked for`)
  for (const client of stuck) client.close()
  await isWell(t, path, 'when they are gone') // and no work is done for what they asked
})

await t.test('64 connections reading at random', async (t) => {
  const { path } = await serveBytes(t, [disk], settings)
  await Promise.all(
    Array.from({ length: 64 }, async (_, seed) => {
      const random = createRandom(seed)
      const client = await enter(path)
      for (let i = 0; i < 20; i++) {
        const offset = random.below(disk.length - 100_000)
        const length = 1 + random.below(100_000)
        if (!(await readRange(client, offset, length)).equals(disk.subarray(offset, offset + length)))
          t.fail(`client ${seed}: wrong bytes at ${offset}`)
      }
      client.close()
    })
  )
})

await t.test('connections beyond the limit are closed, and room is found again', async (t) => {
  const { path } = await serveBytes(t, [disk], settings)
  const clients: RawClient[] = []
  for (let i = 0; i < serveLimits.connectionCountMax; i++) clients.push(await greet(path))
  const late = await connectRaw(path)
  t.equal((await late.rest()).length, 0)
  const [first] = clients
  first?.close()
  for (let tries = 0; tries < 100; tries++) {
    const client = await connectRaw(path)
    const isIn = await client.take(18).then(
      () => true,
      () => false
    )
    client.close()
    if (isIn) break
    if (tries === 99) t.fail('there is room, and nobody gets in')
  }
  for (const client of clients) client.close()
})

await t.test('a request cut in two, with all the others between', async (t) => {
  const { path } = await serveBytes(t, [disk], settings)
  const client = await enter(path)
  const request = requestBytes({ cookie: 9, offset: 5, length: 4096 })
  client.send(request.subarray(0, 13))
  await isWell(t, path, 'while half a request waits')
  client.send(request.subarray(13), request.subarray(0, 27))
  t.equal((await takeChunk(client)).cookie, 9n)
  client.send(request.subarray(27))
  t.equal((await takeChunk(client)).cookie, 9n)
})
