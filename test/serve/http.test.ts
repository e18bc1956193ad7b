import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { checkConditions, isRangeCurrent } from '../../lib/serve/http-conditions.js'
import { chooseRange } from '../../lib/serve/http-range.js'
import { mixedBytes, randomBytes, zeroBytes } from '../helpers/data.js'
import { serveBytes } from '../helpers/serving.js'

const KiB = 1024
const disk = Buffer.concat([mixedBytes(500_001, 1), zeroBytes(600_000), mixedBytes(300_000, 2)])
const memory = mixedBytes(10_000, 3)

await t.test('Range headers', (t) => {
  const cases: readonly (readonly [string | undefined, ReturnType<typeof chooseRange>])[] = [
    [undefined, 'all'],
    ['bytes=0-', { start: 0, end: 100 }],
    ['bytes=0-0', { start: 0, end: 1 }],
    ['bytes=10-19', { start: 10, end: 20 }],
    ['BYTES = 10 - 19', { start: 10, end: 20 }],
    ['bytes=99-1000', { start: 99, end: 100 }],
    ['bytes=-1', { start: 99, end: 100 }],
    ['bytes=-1000', { start: 0, end: 100 }],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=99999999999999999999-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=20-10', 'all'],
    ['bytes=-', 'all'],
    ['bytes=0-99999999999999999999', { start: 0, end: 100 }],
    [`bytes=5-${'9'.repeat(400)}`, { start: 5, end: 100 }],
    [`bytes=-${'9'.repeat(400)}`, { start: 0, end: 100 }],
    [`bytes=${'9'.repeat(400)}-`, 'unsatisfiable'],
    ['bytes=0-1,5-6', 'all'],
    ['bytes=a-b', 'all'],
    ['lines=0-1', 'all'],
    ['', 'all']
  ]
  for (const [header, expected] of cases) t.same(chooseRange(header, 100), expected, header ?? 'none')
  t.equal(chooseRange('bytes=0-', 0), 'unsatisfiable')
  t.equal(chooseRange('bytes=-5', 0), 'unsatisfiable')
  t.end()
})

await t.test('conditions', (t) => {
  const etag = '"ab"'
  for (const [headers, expected] of [
    [{}, 'met'],
    [{ 'if-none-match': '"ab"' }, 'not-modified'],
    [{ 'if-none-match': 'W/"ab"' }, 'not-modified'],
    [{ 'if-none-match': '"x", W/"ab"' }, 'not-modified'],
    [{ 'if-none-match': '"x,","ab"' }, 'not-modified'],
    [{ 'if-none-match': ' * ' }, 'not-modified'],
    [{ 'if-none-match': '"x","ab,"' }, 'met'],
    [{ 'if-none-match': 'ab' }, 'met'],
    [{ 'if-none-match': '' }, 'met'],
    [{ 'if-match': '"ab"' }, 'met'],
    [{ 'if-match': '*' }, 'met'],
    [{ 'if-match': '"x", "ab"' }, 'met'],
    [{ 'if-match': 'W/"ab"' }, 'failed'],
    [{ 'if-match': '"x"' }, 'failed'],
    [{ 'if-match': 'ab' }, 'failed'],
    [{ 'if-match': '"x"', 'if-none-match': '"ab"' }, 'failed'],
    [{ 'if-match': '"ab"', 'if-none-match': '"ab"' }, 'not-modified']
  ] as const)
    t.equal(checkConditions(headers, etag), expected, JSON.stringify(headers))
  t.same(
    [undefined, etag, `W/${etag}`, '"x"', 'Sun, 01 Mar 2026 00:00:00 GMT', ''].map((one) =>
      isRangeCurrent(one, etag)
    ),
    [true, true, false, false, false, false]
  )
  t.end()
})

await t.test('streams as files', async (t) => {
  const { url, snapshot } = await serveBytes(t, [disk, memory], { chunkSize: 16 * KiB })
  const etag = `"${Buffer.from(snapshot.digest).toString('hex')}"`
  const get = async (
    path: string,
    headers: Record<string, string> = {},
    method = 'GET'
  ): Promise<{ status: number; headers: Headers; body: Buffer }> => {
    const response = await fetch(url + path, { headers, method })
    return {
      status: response.status,
      headers: response.headers,
      body: Buffer.from(await response.arrayBuffer())
    }
  }

  const whole = await get('/disk')
  t.equal(whole.status, 200)
  t.ok(whole.body.equals(disk))
  t.equal(whole.headers.get('content-length'), `${disk.length}`)
  t.equal(whole.headers.get('content-type'), 'application/octet-stream')
  t.equal(whole.headers.get('accept-ranges'), 'bytes')
  t.equal(whole.headers.get('etag'), etag)
  t.ok((await get('/memory?x=1')).body.equals(memory))

  for (const [range, start, end] of [
    ['bytes=0-0', 0, 1],
    ['bytes=499990-1100010', 499_990, 1_100_011],
    ['bytes=-17', disk.length - 17, disk.length],
    ['bytes=131072-', 131_072, disk.length]
  ] as const) {
    const part = await get('/disk', { range })
    t.equal(part.status, 206)
    t.ok(part.body.equals(disk.subarray(start, end)), range)
    t.equal(part.headers.get('content-range'), `bytes ${start}-${end - 1}/${disk.length}`)
  }
  const beyond = await get('/disk', { range: `bytes=${disk.length}-` })
  t.same(
    [beyond.status, beyond.headers.get('content-range'), beyond.body.length],
    [416, `bytes */${disk.length}`, 0]
  )

  const range = 'bytes=5-6'
  t.equal((await get('/disk', { range, 'if-range': etag })).status, 206)
  for (const other of ['"0"', `W/${etag}`, 'Sun, 01 Mar 2026 00:00:00 GMT'])
    t.ok((await get('/disk', { range, 'if-range': other })).body.equals(disk), `If-Range ${other}`)
  const known = await get('/disk', { 'if-none-match': `"x", ${etag}` })
  t.same([known.status, known.body.length, known.headers.get('etag')], [304, 0, etag])

  t.equal((await get('/disk', { 'if-none-match': `W/${etag}` })).status, 304)
  t.ok((await get('/disk', { 'if-match': `"x", ${etag}` })).body.equals(disk))
  const failed = await get('/disk', { 'if-match': `W/${etag}`, range })
  t.same([failed.status, failed.body.length, failed.headers.get('etag')], [412, 0, etag])

  const head = await get('/disk', {}, 'HEAD')
  t.same(
    [head.status, head.headers.get('content-length'), head.headers.get('etag'), head.body.length],
    [200, `${disk.length}`, etag, 0]
  )
  const page = await get('/')
  t.equal(page.headers.get('content-type'), 'text/html; charset=utf-8')
  t.match(page.body.toString(), `<li><a href="/disk">disk</a>: ${disk.length} bytes, of which `)
  t.match(page.body.toString(), `<li><a href="/memory">memory</a>: ${memory.length} bytes, of which `)
  t.equal((await get('/', {}, 'HEAD')).body.length, 0)

  const missing = await get('/swap')
  t.same([missing.status, missing.body.toString()], [404, 'there is no /swap; / lists what there is\n'])
  t.equal((await get('/disk/../../etc/passwd')).status, 404)
  for (const method of ['PUT', 'DELETE', 'POST', 'OPTIONS']) {
    const refused = await get('/disk', {}, method)
    t.same([refused.status, refused.headers.get('allow')], [405, 'GET, HEAD'], method)
  }
})

await t.test('only loopback names are answered on the loopback interface', async (t) => {
  const { url } = await serveBytes(t, [memory])
  const { hostname, port } = new URL(url)
  const ask = async (host: string): Promise<number | undefined> => {
    const sent = request({ hostname, port, path: '/memory', headers: { host } }).end()
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    response.resume()
    return response.statusCode
  }
  for (const host of ['localhost', `127.0.0.1:${port}`, `[::1]:${port}`, `LOCALHOST:${port}`])
    t.equal(await ask(host), 404, host) // the stream is named disk
  for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example:80', '192.168.0.1'])
    t.equal(await ask(host), 421, host)
})

await t.test('a damaged chunk cuts the answer off; a client that leaves is no problem', async (t) => {
  const bytes = randomBytes(4 * 1024 * KiB, 6)
  const spoil = (file: Buffer): void => void file.writeUInt8((file[3_000_000] ?? 0) ^ 1, 3_000_000)
  const { url, problems } = await serveBytes(t, [bytes], { chunkSize: 64 * KiB }, { spoil })
  const response = await fetch(`${url}/disk`)
  t.equal(response.status, 200)
  await t.rejects(response.arrayBuffer(), { cause: { code: 'UND_ERR_SOCKET' } })
  t.match(problems, [/^x\.st is damaged at byte \d+: /])
  const part = await fetch(`${url}/disk`, { headers: { range: 'bytes=0-2000000' } })
  t.ok(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(0, 2_000_001)))

  const { port } = new URL(url)
  for (let i = 0; i < 10; i++) {
    const socket = connect(Number(port), '127.0.0.1')
    socket.write('GET /disk HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-2500000\r\n\r\n')
    await once(socket, 'data')
    socket.destroy()
  }
  t.match(await (await fetch(`${url}/`)).text(), '<h1>x.st</h1>')
  t.equal(problems.length, 1)
})

await t.test('closing lets answers in work end soon, and clients go', async (t) => {
  const { url, close } = await serveBytes(t, [disk])
  const { port } = new URL(url)
  const slow = connect(Number(port), '127.0.0.1')
  slow.write('GET /disk HTTP/1.1\r\nHost: localhost\r\n\r\n')
  slow.pause()
  const answer = await fetch(`${url}/disk`)
  t.ok(Buffer.from(await answer.arrayBuffer()).equals(disk))
  await close()
  slow.resume()
  t.match(await text(slow), /^HTTP\/1.1 200 OK\r\n/)
  await t.rejects(fetch(url), { cause: { code: 'ECONNREFUSED' } })
})
