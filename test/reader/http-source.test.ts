import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { openHttpBytes } from '../../lib/reader/http-source.js'
import type { HttpOptions } from '../../lib/reader/http-retry.js'
import { openSnapshot } from '../../lib/reader/open-snapshot.js'
import { buildOfStages } from '../helpers/build.js'
import { difference } from '../helpers/bytes.js'
import { createRandom, mixedBytes, randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { serveFile, type Fault, type FileServer } from '../helpers/http-server.js'

const block = 128 * 1024
const bytes = randomBytes(5 * block + 777, 1)
const quick: HttpOptions = { retryDelayMs: 1, tryCount: 3 }

/** Opens a faulty server's file and reads across two blocks; what went wrong, or `equal`. */
async function outcome(
  t: Test,
  fault: Fault,
  options: HttpOptions = quick
): Promise<{ found: string; server: FileServer }> {
  const server = await serveFile(t, bytes, fault)
  const found = await rejected(
    (async () => {
      const source = await openHttpBytes(server.url, options)
      const read = await source.read(2 * block - 100, 200)
      await source.close()
      throw new Error(difference(read, bytes.subarray(2 * block - 100, 2 * block + 100)))
    })()
  )
  return { found: found.replace(/127\.0\.0\.1:\d+/g, 'HOST'), server }
}

const name = 'http://HOST/vm.st'

await t.test('any range is what the file has there, each block fetched once', async (t) => {
  const server = await serveFile(t, bytes)
  const source = await openHttpBytes(server.url)
  t.equal(source.size, bytes.length)
  t.equal(source.name, server.url)
  t.strictSame(
    server.seen.map(({ start, end }) => [start, end]),
    [[0, block]]
  )
  t.equal(server.seen[0]?.headers['accept-encoding'], 'identity')
  const random = createRandom(1)
  const reads = Array.from({ length: 60 }, async () => {
    const offset = random.below(bytes.length)
    const size = random.below(Math.min(3 * block, bytes.length - offset) + 1)
    return difference(await source.read(offset, size), bytes.subarray(offset, offset + size))
  })
  t.strictSame([...new Set(await Promise.all(reads))], ['equal'])
  const starts = server.seen.map(({ start }) => start)
  t.equal(new Set(starts).size, starts.length, 'no block twice')
  t.equal(server.sentSize(), bytes.length)
  t.strictSame(source.fetched, { size: bytes.length, requestCount: server.seen.length })
  t.strictSame(
    [...new Set(server.seen.slice(1).map(({ headers }) => headers['if-range']))],
    ['"1"'],
    'later requests are for the same version'
  )
  const into = Buffer.alloc(10)
  t.equal(await source.read(5, 10, into), into)
  t.equal(difference(into, bytes.subarray(5, 15)), 'equal')
  await source.close()
  t.match(await rejected(source.read(0, 1)), /^UsageError USAGE: http.* is closed$/)
})

await t.test('neighbours come in one request', async (t) => {
  const server = await serveFile(t, bytes)
  const source = await openHttpBytes(server.url)
  await source.read(3 * block, 10)
  await source.read(block, 4 * block + 5)
  t.strictSame(
    server.seen.slice(1).map(({ start, end }) => [start / block, end / block]),
    [
      [3, 4],
      [1, 3],
      [4, bytes.length / block]
    ]
  )
  await source.close()
})

await t.test('a file of no bytes', async (t) => {
  const server = await serveFile(t, Buffer.alloc(0))
  const source = await openHttpBytes(server.url)
  t.equal(source.size, 0)
  t.match(await rejected(openSnapshot(source)), /^CorruptError (INCOMPLETE|NOT_A_SNAPSHOT): /)
})

await t.test('trouble that passes', async (t) => {
  const once =
    (at: number, change: Fault): Fault =>
    (count, ...rest) =>
      count === at ? change(count, ...rest) : undefined
  const faults: Record<string, Fault> = {
    'a connection that drops': (_, __, response) => {
      response.destroy()
      return 'done'
    },
    'status 503': (_, answer) => {
      answer.status = 503
      return undefined
    },
    'status 429': (_, answer) => {
      Object.assign(answer, { status: 429, headers: { 'retry-after': '0' } })
      return undefined
    },
    'a body that is cut off': (_, answer, response) => {
      response.writeHead(206, { ...answer.headers, 'content-length': answer.body.length })
      response.write(answer.body.subarray(0, 1000), () => response.destroy())
      return 'done'
    },
    'a body that is too short': (_, answer, response) => {
      response.writeHead(206, answer.headers)
      response.end(answer.body.subarray(0, 1000))
      return 'done'
    },
    silence: () => 'done'
  }
  for (const [what, change] of Object.entries(faults))
    for (const at of [0, 1]) {
      const { found, server } = await outcome(t, once(at, change), { ...quick, timeoutMs: 200 })
      t.equal(found, 'Error: equal', `${what} at request ${at}`)
      t.equal(server.seen.length, 3, 'one more request')
      const part = what.startsWith('a body') ? 1000 : 0
      t.equal(server.seen[at + 1]?.start, (at === 0 ? 0 : block) + part, 'goes on where it was')
    }
})

await t.test('trouble that stays', async (t) => {
  const always: Record<string, { fault: Fault; message: string; requests?: number }> = {
    'dropped connections': {
      fault: (_, __, response) => {
        response.destroy()
        return 'done'
      },
      message: `SourceError SOURCE_UNREADABLE: ${name} can't be read: other side closed (tried 3 times)`,
      requests: 3
    },
    'status 500': {
      fault: (_, answer) => {
        answer.status = 500
        return undefined
      },
      message: `SourceError SOURCE_UNREADABLE: ${name} can't be read: the server says 500 (tried 3 times)`,
      requests: 3
    },
    silence: {
      fault: () => 'done',
      message: `SourceError SOURCE_UNREADABLE: ${name} can't be read: the server sent nothing for 0.05 s (tried 3 times)`,
      requests: 3
    },
    'status 404': {
      fault: (_, answer) => {
        answer.status = 404
        return undefined
      },
      message: `SourceError SOURCE_MISSING: ${name} does not exist: the server says 404`
    },
    'status 403': {
      fault: (_, answer) => {
        answer.status = 403
        return undefined
      },
      message: `SourceError SOURCE_UNREADABLE: ${name} can't be read: permission denied, the server says 403`
    },
    'no ranges': {
      fault: (_, answer) => {
        Object.assign(answer, { status: 200, headers: { etag: '"1"' }, body: bytes })
        return undefined
      },
      message: `SourceError SOURCE_UNREADABLE: ${name} can't be read: its server does not give ranges of a file (it answered a range request with 200); download the snapshot and use the file`
    },
    'a wrong Content-Range': {
      fault: (_, answer) => {
        answer.headers['content-range'] = `bytes 1-${block}/${bytes.length}`
        return undefined
      },
      message: `SourceError SOURCE_UNREADABLE: ${name} can't be read: its server gave bytes 1-${block} when asked for bytes 0-${block - 1}`
    },
    'no Content-Range': {
      fault: (_, answer) => {
        answer.headers = {}
        return undefined
      },
      message: `SourceError SOURCE_UNREADABLE: ${name} can't be read: its server gives a malformed answer to a range request (status 206)`
    },
    'a compressed answer': {
      fault: (_, answer) => {
        answer.headers['content-encoding'] = 'br'
        return undefined
      },
      message: `SourceError SOURCE_UNREADABLE: ${name} can't be read: its server compresses it on the way, though asked not to (Content-Encoding: br)`
    },
    'more than was asked for': {
      fault: (_, answer, response) => {
        response.writeHead(206, answer.headers)
        response.end(Buffer.concat([answer.body, Buffer.of(1)]))
        return 'done'
      },
      message: `SourceError SOURCE_UNREADABLE: ${name} can't be read: its server gives more than was asked for`
    }
  }
  for (const [what, { fault, message, requests = 1 }] of Object.entries(always)) {
    const { found, server } = await outcome(t, fault, { ...quick, timeoutMs: what === 'silence' ? 50 : 5000 })
    t.equal(found, message, what)
    t.equal(server.seen.length, requests, `${what}: requests`)
  }
})

await t.test('a file that changes is an error', async (t) => {
  const later =
    (change: Partial<Record<'etag' | 'content-range' | 'last-modified', string>>, status = 206): Fault =>
    (count, answer) => {
      if (count === 0) return undefined
      Object.assign(answer.headers, change)
      answer.status = status
      return undefined
    }
  const changed = (why: string): string =>
    `SourceError SOURCE_CHANGED: ${name} changed while it was read: ${why}`
  const cases: [Fault, string][] = [
    [later({ etag: '"2"' }), changed('its ETag is another one')],
    [later({}, 200), changed('the server has another version of it now')],
    [later({}, 416), changed('it is shorter now')],
    [
      later({ 'content-range': `bytes ${block}-${3 * block - 1}/${bytes.length + 1}` }),
      changed(`it had ${bytes.length} bytes and has ${bytes.length + 1} now`)
    ],
    [later({}, 404), `SourceError SOURCE_MISSING: ${name} does not exist: the server says 404`]
  ]
  for (const [fault, message] of cases) t.equal((await outcome(t, fault)).found, message)

  const dated: Fault = (count, answer) => {
    answer.headers = {
      'content-range': answer.headers['content-range'] ?? '',
      'last-modified': `Mon, 0${count + 1} Jan 2024 00:00:00 GMT`
    }
    return undefined
  }
  const { found, server } = await outcome(t, dated)
  t.equal(found, changed('its Last-Modified is another one'))
  t.equal(server.seen[1]?.headers['if-range'], 'Mon, 01 Jan 2024 00:00:00 GMT')
})

await t.test('redirects are followed by HTTP only, and take no secret along', async (t) => {
  const target = await serveFile(t, bytes)
  const redirect =
    (location: string): Fault =>
    (_, __, response) => {
      response.writeHead(302, { location })
      response.end()
      return 'done'
    }
  const first = await serveFile(t, bytes, redirect(target.url))
  const source = await openHttpBytes(first.url.replace('http://', 'http://ada:s%40cret@'), {
    headers: { 'x-token': 'abc' }
  })
  t.equal(source.name, first.url, 'the name has no password')
  t.equal(first.seen[0]?.headers.authorization, `Basic ${Buffer.from('ada:s@cret').toString('base64')}`)
  t.equal(first.seen[0]?.headers['x-token'], 'abc')
  t.equal(target.seen[0]?.headers.authorization, undefined)
  t.equal(target.seen[0]?.headers['x-token'], undefined)
  t.equal(difference(await source.read(0, 100), bytes.subarray(0, 100)), 'equal')
  await source.close()

  const file = await serveFile(t, bytes, redirect('file:///etc/passwd'))
  t.match(
    await rejected(openHttpBytes(file.url, quick)),
    /^SourceError SOURCE_UNREADABLE: .* it is redirected to where hexz does not follow, file:$/
  )
  const loop = await serveFile(t, bytes, redirect('/vm.st'))
  t.match(await rejected(openHttpBytes(loop.url, quick)), /it is redirected more than 5 times$/)
  t.equal(loop.seen.length, 6)
})

await t.test('what is no URL of http', async (t) => {
  t.equal(
    await rejected(openHttpBytes('ftp://x/y')),
    'UsageError USAGE: ftp://x/y is not a URL of http or https'
  )
  t.match(
    await rejected(openHttpBytes('http://127.0.0.1:1/x', quick)),
    /^SourceError SOURCE_UNREADABLE: http:\/\/127\.0\.0\.1:1\/x can't be read: .*\(tried 3 times\)$/
  )
})

await t.test('a snapshot behind a URL reads like a file, and little is fetched', async (t) => {
  const disk = mixedBytes(8_000_000, 5, 16_384)
  const file = await buildOfStages([[disk]], { chunkSize: 16_384 })
  const server = await serveFile(t, file)
  const snapshot = await openSnapshot(server.url)
  t.equal(
    difference(await snapshot.read('disk', 4_000_000, 5000), disk.subarray(4_000_000, 4_005_000)),
    'equal'
  )
  t.ok(server.sentSize() <= 5 * block, `${server.sentSize()} of ${file.length} bytes`)
  t.equal(snapshot.fetched?.size, server.sentSize())
  t.equal(difference(await buffer(snapshot.createReadStream('disk')), disk), 'equal')
  await snapshot.close()
})

await t.test('close in the middle of a request ends it', async (t) => {
  const server = await serveFile(t, bytes, (count) => (count === 0 ? undefined : 'done'))
  const source = await openHttpBytes(server.url)
  const reading = rejected(source.read(3 * block, 10))
  await source.close()
  t.match(await reading, /is closed$/)
})
