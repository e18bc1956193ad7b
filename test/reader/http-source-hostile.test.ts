import type { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { openHttpBytes } from '../../lib/reader/http-source.js'
import type { HttpOptions } from '../../lib/reader/http-retry.js'
import { difference } from '../helpers/bytes.js'
import { randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { serveRaw } from '../helpers/http-server.js'
import { rawFile } from '../helpers/raw-http.js'

/** What a server may do, byte for byte: each ends in a named error within its tries, or in the right bytes. */

const block = 128 * 1024
const bytes = randomBytes(3 * block + 5, 1)
const { asked, begin, reply } = rawFile(bytes)
const quick: HttpOptions = { retryDelayMs: 1, tryCount: 3, timeoutMs: 10_000 }
const unreadable = (why: string): string =>
  `SourceError SOURCE_UNREADABLE: http://HOST/vm.st can't be read: ${why}`
const malformed = unreadable('its server gives a malformed answer to a range request (status 206)')

/** What comes of reading across the last two blocks of what such a server has. */
async function outcome(
  t: Test,
  answer: (socket: Socket, count: number, request: string) => void,
  options = quick
): Promise<{ found: string; requestCount: number }> {
  const server = await serveRaw(t, answer)
  const found = await rejected(
    (async () => {
      const source = await openHttpBytes(server.url, options)
      const start = 2 * block - 100
      const read = await source.read(start, bytes.length - start)
      await source.close()
      throw new Error(difference(read, bytes.subarray(start)))
    })()
  )
  return { found: found.replace(/127\.0\.0\.1:\d+/g, 'HOST'), requestCount: server.requestCount() }
}

await t.test('numbers of an answer', async (t) => {
  const many = '9'.repeat(23)
  const ranges: Record<string, string> = {
    [`bytes 0-131071/${many}`]: unreadable(
      `its server says that it has ${many} bytes, and a snapshot has at most 281474976710655`
    ),
    'bytes 0-131071/281474976710656': unreadable(
      'its server says that it has 281474976710656 bytes, and a snapshot has at most 281474976710655'
    ),
    [`bytes 0-${many}/393221`]: malformed,
    [`bytes ${many}-131071/393221`]: malformed,
    'bytes 131071-0/393221': malformed,
    'bytes 1-131071/393221': unreadable('its server gave bytes 1-131071 when asked for bytes 0-131071'),
    'bytes 0-1000/393221': unreadable('its server gave bytes 0-1000 when asked for bytes 0-131071'),
    'bytes 0-131071/0': malformed,
    [`bytes 0-131071/${'9'.repeat(31)}`]: malformed,
    'bytes 0-131071/*': malformed,
    'bytes 0-131071/-1': malformed,
    'bytes -1-131071/393221': malformed,
    'bytes 0-1e5/393221': malformed,
    'bytes 0x0-131071/393221': malformed,
    'bytes 0-131071': malformed,
    'items 0-131071/393221': malformed,
    '': malformed
  }
  for (const [range, message] of Object.entries(ranges)) {
    const { found, requestCount } = await outcome(t, (socket, _, request) =>
      reply(socket, request, { range })
    )
    t.equal(found, message, range)
    t.equal(requestCount, 1, `${range}: one request`)
  }
  for (const wait of ['1e999', '-5', 'soon']) {
    const { found, requestCount } = await outcome(t, (socket, count, request) =>
      count === 0
        ? reply(socket, request, { status: '503 No', headers: [`Retry-After: ${wait}`] })
        : reply(socket, request)
    )
    t.same([found, requestCount], ['Error: equal', 3], `Retry-After: ${wait}`)
  }
})

await t.test('codings that leave bytes as they are, and others', async (t) => {
  for (const coding of ['', 'identity', 'binary', 'aws-chunked', 'AWS-chunked, identity']) {
    const headers = [`Content-Encoding: ${coding}`]
    const { found } = await outcome(t, (socket, _, request) => reply(socket, request, { headers }))
    t.equal(found, 'Error: equal', coding)
  }
  for (const coding of ['gzip', 'x-gzip', 'deflate', 'br', 'zstd', 'aws-chunked, gzip', 'rot13']) {
    const headers = [`Content-Encoding: ${coding}`]
    const { found, requestCount } = await outcome(t, (socket, _, request) => {
      const { start, end } = asked(request)
      reply(socket, request, { headers, body: gzipSync(bytes.subarray(start, end)) })
    })
    t.equal(
      found,
      unreadable(`its server compresses it on the way, though asked not to (Content-Encoding: ${coding})`)
    )
    t.equal(requestCount, 1)
  }
})

/** Raw answers, what comes of them, and in how many requests at most. */
const behaviours: Record<
  string,
  { answer: Parameters<typeof serveRaw>[1]; message: string; requests?: number; options?: HttpOptions }
> = {
  'two ranges': {
    answer: (socket, _, request) =>
      reply(socket, request, { headers: [`Content-Range: bytes 0-131071/${bytes.length}`] }),
    message: malformed
  },
  'a range in parts': {
    answer: (socket, _, request) =>
      reply(socket, request, { range: '', headers: ['Content-Type: multipart/byteranges; boundary=x'] }),
    message: malformed
  },
  'not modified': {
    answer: (socket) => socket.write('HTTP/1.1 304 Not Modified\r\n\r\n'),
    message: unreadable('its server gives a malformed answer to a range request (status 304)')
  },
  'no content': {
    answer: (socket) => socket.write('HTTP/1.1 204 No\r\nContent-Range: bytes 0-131071/393221\r\n\r\n'),
    message: unreadable('its server gives a malformed answer to a range request (status 204)')
  },
  'an ETag for each answer': {
    answer: (socket, count, request) => reply(socket, request, { headers: [`ETag: "${count}"`] }),
    message: `SourceError SOURCE_CHANGED: http://HOST/vm.st changed while it was read: its ETag is another one`,
    requests: 2
  },
  'a size of 0': {
    answer: (socket, _, request) =>
      reply(socket, request, { status: '416 No', range: 'bytes */0', body: Buffer.alloc(0) }),
    message: 'UsageError USAGE: 131177 bytes from byte 262044 are not in http://HOST/vm.st, which has 0'
  },
  'a size below 0': {
    answer: (socket, _, request) => reply(socket, request, { status: '416 No', range: 'bytes */-1' }),
    message: unreadable('its server refuses the first bytes of it')
  },
  'a length beyond any': {
    answer: (socket) =>
      socket.write(
        `HTTP/1.1 206 P\r\nContent-Length: ${'9'.repeat(40)}\r\nContent-Range: bytes 0-131071/393221\r\n\r\n`
      ),
    message: unreadable(
      'Response does not match the HTTP/1.1 protocol (Content-Length overflow) (tried 3 times)'
    ),
    requests: 3
  },
  'no HTTP': {
    answer: (socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n'),
    message: unreadable('Response does not match the HTTP/1.1 protocol (Expected HTTP/) (tried 3 times)'),
    requests: 3
  },
  'headers that are cut off': {
    answer: (socket) => socket.end('HTTP/1.1 206 Partial Content\r\nContent-Ra'),
    message: unreadable('other side closed (tried 3 times)'),
    requests: 3
  },
  'headers without end': {
    answer: (socket) => socket.write(`HTTP/1.1 206 P\r\n${'X-Y: z\r\n'.repeat(50_000)}`),
    message: unreadable('Headers Overflow Error (tried 3 times)'),
    requests: 3
  },
  'a body that is longer than said': {
    answer: (socket, count, request) => {
      reply(socket, request)
      if (count > 0) socket.write('more')
    },
    message: 'Error: equal',
    requests: 4
  },
  'chunks of no size': {
    answer: (socket) =>
      socket.write(
        'HTTP/1.1 206 P\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 0-131071/393221\r\n\r\nxyz\r\n'
      ),
    message: unreadable(
      'Response does not match the HTTP/1.1 protocol (Invalid character in chunk size) (tried 3 times)'
    ),
    requests: 3
  },
  'chunks without end': {
    answer: (socket, _, request) => {
      const { start, end } = asked(request)
      begin(socket, request, 'Transfer-Encoding: chunked')
      socket.write(`${(end - start).toString(16)}\r\n`)
      socket.write(bytes.subarray(start, end))
      socket.write('\r\n1\r\nx\r\n'.repeat(5))
    },
    message: unreadable('its server gives more than was asked for')
  },
  'all bytes, and no end': {
    answer: (socket, _, request) => {
      const { start, end } = asked(request)
      begin(socket, request, 'Transfer-Encoding: chunked')
      socket.write(`${(end - start).toString(16)}\r\n`)
      socket.write(bytes.subarray(start, end))
    },
    message: 'Error: equal',
    requests: 4,
    options: { ...quick, timeoutMs: 1000 }
  },
  'informational answers without end': {
    answer: (socket) => {
      const flood = (): void => {
        if (!socket.destroyed)
          socket.write('HTTP/1.1 102 Processing\r\n\r\n'.repeat(100), () => setImmediate(flood))
      }
      flood()
    },
    message: unreadable('the server sent nothing for 0.2 s (tried 2 times)'),
    requests: 2,
    options: { ...quick, tryCount: 2, timeoutMs: 200 }
  },
  'a byte now and then': {
    answer: (socket, _, request) => {
      const { start } = asked(request)
      begin(socket, request)
      let at = start
      socket.write(bytes.subarray(at, ++at))
      const timer = setInterval(() => socket.write(bytes.subarray(at, ++at)), 20)
      socket.on('close', () => clearInterval(timer))
    },
    message: unreadable('the server sent only N bytes for 0.5 s (tried 2 times)'),
    requests: 2,
    options: { ...quick, tryCount: 2, timeoutMs: 500 }
  },
  'a headers line now and then': {
    answer: (socket) => {
      socket.write('HTTP/1.1 206 P\r\n')
      const timer = setInterval(() => socket.write('X: y\r\n'), 10)
      socket.on('close', () => clearInterval(timer))
    },
    message: unreadable('the server sent nothing for 0.2 s (tried 2 times)'),
    requests: 2,
    options: { ...quick, tryCount: 2, timeoutMs: 200 }
  },
  'a byte for each connection': {
    answer: (socket, _, request) => {
      const { start } = asked(request)
      begin(socket, request)
      socket.end(bytes.subarray(start, start + 1))
    },
    message: unreadable('other side closed (tried 3 times)'),
    requests: 3
  },
  '16 KiB for each connection': {
    answer: (socket, _, request) => {
      const { start, end } = asked(request)
      begin(socket, request)
      socket.end(bytes.subarray(start, Math.min(end, start + 16 * 1024)))
    },
    message: 'Error: equal',
    requests: 2 * (8 + 17),
    options: { ...quick, tryCount: 5 }
  }
}

await t.test('servers that do as they like', async (t) => {
  await Promise.all(
    Object.entries(behaviours).map(async ([what, { answer, message, requests = 1, options }]) => {
      const { found, requestCount } = await outcome(t, answer, options)
      t.equal(found.replace(/only \d+ bytes/, 'only N bytes'), message, what)
      t.ok(requestCount <= requests, `${what}: ${requestCount} requests`)
    })
  )
})
