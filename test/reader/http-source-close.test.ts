import type { Socket } from 'node:net'
import t from 'tap'
import type { HttpOptions } from '../../lib/reader/http-retry.js'
import { openHttpBytes } from '../../lib/reader/http-source.js'
import { randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { serveRaw } from '../helpers/http-server.js'
import { rawFile } from '../helpers/raw-http.js'
import { finished, startCli, until } from '../helpers/run-cli.js'

const block = 128 * 1024
const bytes = randomBytes(3 * block + 5, 1)
const { begin, reply } = rawFile(bytes)
const quick: HttpOptions = { retryDelayMs: 1, tryCount: 3, timeoutMs: 10_000 }

await t.test('a source that is closed in the middle says so, and lets its connections go', async (t) => {
  const phases: Record<string, (socket: Socket, request: string) => void> = {
    headers: () => undefined,
    body: (socket, request) => {
      begin(socket, request)
      socket.write('x')
    },
    'a pause': (socket) => socket.write('HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: 30\r\n\r\n')
  }
  for (const [phase, answer] of Object.entries(phases)) {
    const server = await serveRaw(t, (socket, count, request) => {
      if (count === 0) reply(socket, request)
      else answer(socket, request)
    })
    const source = await openHttpBytes(server.url, { ...quick, tryCount: 9 })
    const reads = [rejected(source.read(block, 10)), rejected(source.read(3 * block, 5))]
    await until('both have asked', () => server.requestCount() === 3)
    await source.close()
    t.same(
      await Promise.all(reads),
      Array.from({ length: 2 }, () => `UsageError USAGE: ${source.name} is closed`),
      phase
    )
    t.equal(await rejected(source.read(0, 1)), `UsageError USAGE: ${source.name} is closed`)
    const expected = phase === 'a pause' ? 2 : 0 // idle ones are kept for who comes next
    await until('connections are closed', () => server.openCount() <= expected + 1)
  }
})

await t.test('a signal ends a command in whatever phase its server hangs', async (t) => {
  const phases: Record<string, (socket: Socket, request: string) => void> = {
    headers: () => undefined,
    body: (socket, request) => begin(socket, request),
    'a pause': (socket) => socket.write('HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: 30\r\n\r\n')
  }
  await Promise.all(
    Object.entries(phases).map(async ([phase, answer]) => {
      const server = await serveRaw(t, (socket, _, request) => answer(socket, request))
      const child = startCli(['verify', server.url])
      const end = finished(child)
      await until('the server is asked', () => server.requestCount() > 0)
      child.kill('SIGTERM')
      const { signal, stdout, stderr } = await end
      t.same(
        [signal, stdout.toString(), stderr],
        ['SIGTERM', '', 'hexz: stopped by SIGTERM before it was done\n'],
        phase
      )
    })
  )
})

await t.test('a range that is not in the file, and options that are none', async (t) => {
  const server = await serveRaw(t, (socket, _, request) => reply(socket, request))
  const source = await openHttpBytes(server.url, quick)
  for (const [offset, length] of [
    [2 ** 60, 1],
    [-1, 1],
    [NaN, 1],
    [0, Infinity],
    [bytes.length, 1]
  ] as const)
    t.equal(
      await rejected(source.read(offset, length)),
      `UsageError USAGE: ${length} bytes from byte ${offset} are not in ${source.name}, which has ${bytes.length}`
    )
  await source.close()
  const refused: [HttpOptions, string][] = [
    [{ tryCount: NaN }, 'tryCount NaN is not 1 or more'],
    [{ timeoutMs: Infinity }, 'timeoutMs Infinity is not a time from 0 to 2147483647 ms'],
    [{ retryDelayMs: -1 }, 'retryDelayMs -1 is not a time from 0 to 2147483647 ms'],
    [
      { headers: { 'x-token': 'secret\nx: y' } },
      'header "x-token" can\'t be sent: its name or its value has letters that no header has'
    ]
  ]
  for (const [options, message] of refused)
    t.equal(await rejected(openHttpBytes(server.url, options)), `UsageError USAGE: ${message}`)
})
