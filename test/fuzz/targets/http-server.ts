import { mutate } from '../mutate.js'
import { hostileNumber, randomOf, type Random } from '../random.js'
import { serveSample, talk, type Served } from '../served.js'
import type { Target } from '../target.js'

interface Request {
  readonly method: string
  readonly isOfDisk: boolean
}

/** Requests to the HTTP server, several on one connection: proper ones, odd ones, damaged ones. */
export function httpServerTarget(): Target {
  let served: Promise<Served> | undefined
  return {
    name: 'http server',
    share: 12,
    make(words, keep) {
      const random = randomOf(...words)
      const story: string[] = []
      const requests: Request[] = []
      let said: Buffer = Buffer.alloc(0)
      for (let left = 1 + random.below(4); left > 0; left--) {
        const method = random.pick(['GET', 'GET', 'GET', 'HEAD', 'POST', 'OPTIONS'])
        const path = random.pick([
          '/disk',
          '/disk',
          '/disk',
          '/',
          '/%64isk',
          '/../disk',
          '/none',
          '/disk?x',
          '*',
          `/${'y'.repeat(5000)}`
        ])
        const lines = [`${method} ${path} HTTP/1.1`, 'Host: localhost', ...someHeaders(random)]
        if (left === 1) lines.push('Connection: close')
        said = Buffer.concat([said, Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')])
        requests.push({ method, isOfDisk: path.startsWith('/disk') })
        story.push(lines.join(', ').slice(0, 200))
      }
      const isProper = random.chance(60) || !keep(0)
      if (!isProper) {
        const done = mutate(said, random)
        said = done.bytes
        story.push(done.told)
      }
      return Promise.resolve({
        bytes: said,
        story,
        async check(report) {
          const { httpPath, disk, takeProblems } = await (served ??= serveSample())
          const heard = await talk(httpPath, said, { isHangingUp: !isProper })
          if (heard === undefined) report('the connection stays open', '')
          else {
            const wrong = isProper ? problemOf(heard, requests, disk) : undefined
            if (wrong !== undefined) report(`a wrong answer: ${wrong}`, '')
          }
          for (const problem of takeProblems()) report('the server has a problem', problem)
          return undefined
        }
      })
    },
    async close() {
      await (await served)?.close()
    }
  }
}

function someHeaders(random: Random): string[] {
  const number = (): string =>
    String(random.chance(60) ? random.below(300_010) : hostileNumber(random, 300_001))
  const kinds: readonly (() => string)[] = [
    () => `Range: bytes=${number()}-${number()}`,
    () => `Range: bytes=${number()}-`,
    () => `Range: bytes=-${number()}`,
    () => `Range: bytes=${number()}-${number()},${number()}-${number()}`,
    () =>
      `Range: ${random.pick(['bytes=', 'bytes=--1', 'bytes=a-b', 'lines=1-2', 'bytes=1-2-3', `bytes=${'9'.repeat(400)}-`])}`,
    () => `If-Range: ${random.pick(['"x"', 'W/"x"', 'Wed, 21 Oct 2015 07:28:00 GMT'])}`,
    () => `If-None-Match: ${random.pick(['*', '"x"', '"x", W/"y"', ','])}`,
    () => `X-${'z'.repeat(random.below(200))}: ${'v'.repeat(random.below(3000))}`
  ]
  return Array.from({ length: random.below(3) }, () => random.pick(kinds)())
}

const statuses = new Set([200, 206, 304, 400, 404, 405, 416, 421, 431])

function problemOf(heard: Buffer, requests: readonly Request[], disk: Buffer): string | undefined {
  let at = 0
  for (const { method, isOfDisk } of requests) {
    if (at === heard.length) return 'an answer is missing'
    const end = heard.indexOf('\r\n\r\n', at)
    if (end === -1) return 'an answer without an end'
    const head = heard.toString('latin1', at, end)
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1])
    if (!statuses.has(status)) return `status ${status}`
    const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0)
    const isChunked = /^transfer-encoding: chunked$/im.test(head)
    at = end + 4
    if (method === 'HEAD' || status === 304) continue
    const body = isChunked
      ? heard.subarray(at, heard.indexOf('0\r\n\r\n', at) + 5)
      : heard.subarray(at, at + length)
    if (!isChunked && body.length < length) return 'a body is cut off'
    at += body.length
    const [, start, last] = /^content-range: bytes (\d+)-(\d+)\/300001$/im.exec(head) ?? []
    const right = status === 206 ? disk.subarray(Number(start), Number(last) + 1) : disk
    if (isOfDisk && (status === 200 || status === 206) && !body.equals(right)) return 'other bytes'
  }
  return at === heard.length ? undefined : 'more than was asked for'
}
