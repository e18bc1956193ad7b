import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { openSnapshot } from '../../lib/index.js'
import { serveLimits } from '../../lib/limits.js'
import { serveHttp } from '../../lib/serve/http-server.js'
import { buildOfStages } from '../helpers/build.js'
import { randomBytes } from '../helpers/data.js'
import { finished, startCli, scratch, until } from '../helpers/run-cli.js'
import { serveBytes } from '../helpers/serving.js'
import { memorySource } from '../helpers/snapshots.js'

const MiB = 1024 * 1024
const disk = randomBytes(8 * MiB, 1)
const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`

/** A client that sends what it likes, and reads when it is told to. */
async function client(t: Test, url: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.on('error', () => undefined).pause()
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** Bytes of memory that a process held at most so far. */
function peakOf(pid: number | undefined): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}

await t.test(
  'clients that ask and do not read: memory is bounded',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const path = join(scratch(t), 'x.st')
    writeFileSync(path, await buildOfStages([[disk]]))
    const child = startCli(['serve', path, '--http', '127.0.0.1:0'])
    const end = finished(child)
    const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer]
    const url = line.toString().trim()
    t.equal((await (await fetch(`${url}disk`)).arrayBuffer()).byteLength, disk.length)
    const before = peakOf(child.pid)
    const grown = (): number => (peakOf(child.pid) - before) / MiB
    const answered = async (): Promise<void> => {
      const response = await fetch(`${url}disk`, { headers: { range: 'bytes=5-6' } })
      t.ok(Buffer.from(await response.arrayBuffer()).equals(disk.subarray(5, 7)), 'others are served')
    }

    for (const path of ['/disk', '/', '/nothing']) {
      const socket = await client(t, url)
      socket.write(get(path).repeat(4.5e6 / get(path).length))
      await until('it is cut off', () => {
        socket.write('x') // a client that reads nothing sees it by what comes of its words
        return socket.destroyed
      })
      await answered()
    }
    t.ok(grown() < 48, `4.5 MB of requests on one connection: ${grown()} MiB more`)

    for (let i = 0; i < serveLimits.connectionCountMax - 8; i++) {
      const socket = await client(t, url)
      socket.write(get('/disk').repeat(serveLimits.httpWaitingMax + 1))
    }
    await answered()
    await answered()
    t.ok(
      grown() < 96,
      `120 connections with ${serveLimits.httpWaitingMax + 1} requests each: ${grown()} MiB more`
    )
    child.kill('SIGTERM')
    t.match(
      (await end).stderr,
      /^hexz: serving disk \(8 MiB\) of .*x\.st until it is stopped\nhexz: stopped by SIGTERM\n$/
    )
  }
)

await t.test('requests of one connection are answered in their order', async (t) => {
  const { url } = await serveBytes(t, [disk])
  const socket = await client(t, url)
  const ranges = Array.from({ length: serveLimits.httpWaitingMax + 1 }, (_, i) => i * 300_000)
  const last = ranges.pop() ?? 0
  for (const start of ranges) socket.write(get('/disk', `Range: bytes=${start}-${start + 1}\r\n`))
  socket.write(get('/disk', `Range: bytes=${last}-${last + 1}\r\nConnection: close\r\n`))
  socket.resume()
  socket.setEncoding('latin1')
  const bodies = [...(await text(socket)).matchAll(/content-range: bytes (\d+)-.*?\r\n\r\n(..)/gis)]
  t.same(
    bodies.map(([, start, body]) => [Number(start), body]),
    [...ranges, last].map((start) => [start, disk.subarray(start, start + 2).toString('latin1')])
  )
})

await t.test('a client that takes nothing is cut off', async (t) => {
  const source = memorySource(await buildOfStages([[disk]]), 'x.st')
  const snapshot = await openSnapshot(source)
  const problems: unknown[] = []
  const listener = await serveHttp(
    snapshot,
    { kind: 'tcp', host: '127.0.0.1', port: 0 },
    (error) => problems.push(error),
    50
  )
  t.teardown(async () => {
    await listener.close()
    await snapshot.close()
  })
  const socket = await client(t, listener.uri)
  socket.write(get('/disk'))
  await until('it is cut off', () => {
    socket.write('x')
    return socket.destroyed
  })
  const whole = await fetch(`${listener.uri}disk`)
  t.ok(Buffer.from(await whole.arrayBuffer()).equals(disk), 'one that reads gets all')
  t.same(problems, [])
})

await t.test('headers that make no sense', async (t) => {
  const { url, problems } = await serveBytes(t, [disk])
  const close = 'Connection: close\r\n'
  for (const [bytes, status] of [
    ['GET / HTTP/9\r\n\r\n', 400],
    ['\0\0\0\0\r\n\r\n', 400],
    ['GET /\x1b[31m HTTP/1.1\r\nHost: localhost\r\n\r\n', 400],
    [`GET /${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`, 431],
    [get('/%', close), 404],
    [get('/%00%1b%0a', close), 404],
    [get('/..%2f..%2fetc%2fpasswd', close), 404],
    [get('/%64isk', `Range: bytes=0-0\r\n${close}`), 206]
  ] as const) {
    const socket = await client(t, url)
    socket.write(bytes, 'latin1')
    socket.resume()
    t.match(await text(socket), new RegExp(`^HTTP/1\\.1 ${status} `), bytes.slice(0, 40))
  }
  t.same(problems, [])
})

await t.test('a unix socket is answered by whatever name', async (t) => {
  const path = join(scratch(t), 's')
  const snapshot = await openSnapshot(memorySource(await buildOfStages([[disk]]), 'x.st'))
  const listener = await serveHttp(snapshot, { kind: 'unix', path }, (error) => t.fail(String(error)))
  t.teardown(async () => {
    await listener.close()
    await snapshot.close()
  })
  t.equal(listener.uri, `http+unix://${encodeURIComponent(path)}/`)
  for (const host of ['localhost', 'x', 'disks.example:80']) {
    const socket = connect(path)
    socket.write(`GET /disk HTTP/1.1\r\nHost: ${host}\r\nRange: bytes=7-8\r\nConnection: close\r\n\r\n`)
    socket.setEncoding('latin1')
    t.match(await text(socket), /^HTTP\/1\.1 206 /, host)
  }
})
