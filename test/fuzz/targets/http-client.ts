import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { openHttpBytes, openSnapshot } from '../../../lib/index.js'
import { buildOfStages } from '../../helpers/build.js'
import { randomBytes } from '../../helpers/data.js'
import { randomOf, type Random } from '../random.js'
import type { Target } from '../target.js'
import { attempt } from '../verdict.js'

/** An answer that can be spoilt. */
interface Answer {
  status: string
  headers: string[]
  body: Buffer
  /** What becomes of the connection: goes on, ends, breaks, or nothing is ever said. */
  then: 'go on' | 'end' | 'break' | 'silence'
}

const disk = randomBytes(300_001, 4)

/** A server on this machine that spoils some of its answers: the client gives the right bytes, or a named error. */
export function httpClientTarget(): Target {
  let running: Promise<HostileServer> | undefined
  return {
    name: 'http client',
    share: 3,
    make(words) {
      const random = randomOf(...words)
      const story: string[] = []
      /** Number of the request, and what is done to its answer. */
      const faults = new Map<number, (answer: Answer) => void>()
      for (let left = 1 + random.below(3); left > 0; left--) {
        const [name, spoil] = anyFault(random)
        const number = random.below(4)
        faults.set(number, spoil)
        story.push(`answer ${number}: ${name}`)
      }
      return Promise.resolve({
        bytes: Buffer.from(story.join('\n')),
        story,
        async check(report) {
          const { url, spoilBy } = await (running ??= startServer())
          spoilBy((number) => faults.get(number))
          const read = await attempt(report, 'read by HTTP', async () => {
            const source = await openHttpBytes(url, { tryCount: 2, retryDelayMs: 1, timeoutMs: 300 })
            const snapshot = await openSnapshot(source)
            try {
              return await snapshot.read('disk', 0, disk.length)
            } finally {
              await snapshot.close()
            }
          })
          if (read.isOk && !read.value.equals(disk)) report('other bytes by HTTP', '')
          return undefined
        }
      })
    },
    async close() {
      await (await running)?.close()
    }
  }
}

const numbers = [
  '0',
  '1',
  '131071',
  '131072',
  '-1',
  '1e9',
  '',
  '0x10',
  '9'.repeat(23),
  '9007199254740993',
  '4294967296',
  '*',
  ' 5'
]

function anyFault(random: Random): [string, (answer: Answer) => void] {
  const number = (): string => random.pick(numbers)
  const set = (answer: Answer, name: string, value: string): void => {
    answer.headers = [...answer.headers.filter((line) => !line.startsWith(`${name}:`)), `${name}: ${value}`]
  }
  const status = random.pick([
    '200 OK',
    '204 No',
    '206 Partial',
    '304 Same',
    '404 No',
    '416 No',
    '429 Wait',
    '500 No',
    '503 No',
    '99 x',
    '1000 x',
    '302 Found'
  ])
  const range = `bytes ${number()}-${number()}/${number()}`
  const count = number()
  const place = random.pick([
    '/vm.st',
    '/',
    'file:///etc/passwd',
    'http://',
    'ftp://x/',
    '//',
    'http://127.0.0.1:1/',
    '\u00e9'
  ])
  const at = random.below(131_072)
  const size = random.below(1000)
  const kinds: readonly (readonly [string, (answer: Answer) => void])[] = [
    [`status ${status}`, (answer) => void (answer.status = status)],
    [
      `redirect to ${place}`,
      (answer) => {
        answer.status = '302 Found'
        answer.headers.push(`location: ${place}`)
      }
    ],
    [`content-range ${range}`, (answer) => set(answer, 'content-range', range)],
    [
      'a larger file',
      (answer) => {
        const right = answer.headers
          .find((line) => line.startsWith('content-range:'))
          ?.replace(/\/.*/, `/${count}`)
        if (right !== undefined) set(answer, 'content-range', right.replace('content-range: ', ''))
      }
    ],
    [`content-length ${count}`, (answer) => set(answer, 'content-length', count)],
    ['two lengths', (answer) => void answer.headers.push(`content-length: ${count}`)],
    ['another etag', (answer) => set(answer, 'etag', random.pick(['"2"', 'W/"1"', '', '"']))],
    ['encoded', (answer) => set(answer, 'content-encoding', random.pick(['gzip', 'br', 'identity', 'x']))],
    ['chunked', (answer) => set(answer, 'transfer-encoding', 'chunked')],
    ['a long header', (answer) => void answer.headers.push(`x: ${'y'.repeat(100_000)}`)],
    [
      'a bad header',
      (answer) => void answer.headers.push(random.pick(['no colon', ': x', 'a\0b: c', ' folded']))
    ],
    [
      `cut to ${size}`,
      (answer) => {
        answer.body = answer.body.subarray(0, size)
        answer.then = random.pick(['end', 'break', 'silence'])
      }
    ],
    ['too much', (answer) => void (answer.body = Buffer.concat([answer.body, random.bytes(size)]))],
    [
      `a changed byte at ${at}`,
      (answer) => {
        answer.body = Buffer.from(answer.body)
        if (at < answer.body.length) answer.body[at] = (answer.body[at] ?? 0) ^ 1
      }
    ],
    ['zeros', (answer) => void (answer.body = Buffer.alloc(answer.body.length))],
    ['silence', (answer) => void (answer.then = 'silence')],
    ['break', (answer) => void (answer.then = 'break')],
    [
      'retry-after',
      (answer) => {
        answer.status = '503 Wait'
        set(
          answer,
          'retry-after',
          random.pick(['0', '-5', 'x', '', '0.001', 'Wed, 21 Oct 2015 07:28:00 GMT'])
        )
      }
    ]
  ]
  return [...random.pick(kinds)]
}

interface HostileServer {
  readonly url: string
  /** From here on, counted from 0. */
  readonly spoilBy: (fault: (number: number) => ((answer: Answer) => void) | undefined) => void
  close(): Promise<void>
}

async function startServer(): Promise<HostileServer> {
  const file = await buildOfStages([[disk]], { codec: 'raw', chunkSize: 4096 })
  const sockets = new Set<Socket>()
  let count = 0
  let faultOf: (number: number) => ((answer: Answer) => void) | undefined = () => undefined
  const server: Server = createServer((socket) => {
    let asked = ''
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    socket.on('data', (bytes) => {
      asked += bytes.toString('latin1')
      for (let end = asked.indexOf('\r\n\r\n'); end !== -1; end = asked.indexOf('\r\n\r\n')) {
        const answer = honestAnswer(file, asked.slice(0, end))
        asked = asked.slice(end + 4)
        faultOf(count++)?.(answer)
        send(socket, answer)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/vm.st`,
    spoilBy(fault) {
      for (const socket of sockets) socket.destroy()
      count = 0
      faultOf = fault
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      })
  }
}

function honestAnswer(file: Buffer, request: string): Answer {
  const [, first = '0', last = '0'] = /^range: bytes=(\d+)-(\d+)$/im.exec(request) ?? []
  const body = file.subarray(Number(first), Number(last) + 1)
  const range = `bytes ${first}-${Number(first) + body.length - 1}/${file.length}`
  const headers = ['etag: "1"', `content-range: ${range}`, `content-length: ${body.length}`]
  return { status: '206 Partial Content', headers, body, then: 'go on' }
}

function send(socket: Socket, { status, headers, body, then }: Answer): void {
  if (then === 'silence' && body.length > 1000) return
  socket.write(Buffer.from(`HTTP/1.1 ${status}\r\n${headers.join('\r\n')}\r\n\r\n`, 'latin1'))
  socket.write(body)
  if (then === 'end') socket.end()
  if (then === 'break') socket.resetAndDestroy()
}
