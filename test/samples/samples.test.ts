import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { serveFile } from '../helpers/http-server.js'
import { hexz, makeTools, root, run, skipUnless } from '../docs/run.js'

const image = join(root, 'samples', 'disk.img')
const sample = (name: string): string => join(root, 'samples', name)

void t.test('disk.img is the ext4 filesystem that make-disk-image.sh describes', async (t) => {
  const bytes = readFileSync(image)
  t.equal(bytes.length, 2 * 1024 * 1024)
  t.equal(bytes.readUInt16LE(1024 + 0x38), 0xef53, 'the magic of ext4')
  t.match(bytes.toString('latin1'), 'so the copy costs next to nothing in a snapshot')

  await t.test('and is sound', { skip: skipUnless('e2fsck', 'debugfs') }, async (t) => {
    const check = await run('e2fsck', ['-f', '-n', image])
    t.equal(check.exitCode, 0, check.stderr)
    const log = await run('debugfs', ['-R', 'cat /var/log/events.log', image])
    const copy = await run('debugfs', ['-R', 'cat /home/ada/events-copy.log', image])
    t.equal(log.stdout.toString().split('\n').length, 6001)
    t.equal(log.stdout.toString().split('\n')[0], '2026-03-01 00:00 unit=11 event="sensor read" value=2976')
    t.ok(log.stdout.equals(copy.stdout), 'the copy has the same bytes')
  })

  await t.test('which it makes again', { skip: skipUnless('mke2fs', 'e2fsck', 'debugfs') }, async (t) => {
    const made = join(t.testdir(), 'made.img')
    const result = await run(sample('make-disk-image.sh'), [made])
    t.equal(result.exitCode, 0, result.stderr)
    t.equal((await run('e2fsck', ['-f', '-n', made])).exitCode, 0)
    const files = ['/etc/fstab', '/home/ada/notes.txt', '/var/log/events.log', '/home/ada/events-copy.log']
    for (const file of files) {
      const [old, fresh] = await Promise.all(
        [image, made].map(async (path) => (await run('debugfs', ['-R', `cat ${file}`, path])).stdout)
      )
      t.ok((old?.length ?? 0) > 0 && old?.equals(fresh ?? Buffer.alloc(0)), file)
    }
  })
})

void t.test('pipe.sh', async (t) => {
  const folder = t.testdir({ work: {} })
  const cwd = join(folder, 'work')
  const path = makeTools(join(folder, 'bin'))

  const result = await run(sample('pipe.sh'), [], { cwd, path })
  t.equal(result.stdout.toString(), `out.st holds every byte of ${image}\n`)
  t.equal(result.exitCode, 0)
  const direct = await hexz(['build', image])
  t.ok(readFileSync(join(cwd, 'out.st')).equals(direct.stdout), 'the snapshot that a file gives')

  const missing = await run(sample('pipe.sh'), ['missing.img', 'none.st'], { cwd, path })
  t.equal(missing.exitCode, 3, 'dd gave nothing, and an empty pipe is an error')
  t.match(missing.stderr, 'missing.img')
})

void t.test('read-range.mjs', async (t) => {
  const folder = t.testdir()
  const snapshot = join(folder, 'disk.st')
  t.equal((await hexz(['build', image, '-o', snapshot, '--cdc'])).exitCode, 0)
  const bytes = readFileSync(image)
  for (const [offset, length] of [
    [1080, 2],
    [100_000, 300_000],
    [bytes.length - 5, 5],
    [7, 0]
  ] as const) {
    const { stdout } = await run('node', [sample('read-range.mjs'), snapshot, `${offset}`, `${length}`])
    t.ok(stdout.equals(bytes.subarray(offset, offset + length)), `${length} bytes at ${offset}`)
  }
  const beyond = await run('node', [sample('read-range.mjs'), snapshot, '0', '2097153'])
  t.match(
    beyond.stderr,
    "a range can't end at 2097153, after the end of stream disk, which has 2097152 bytes"
  )
  t.equal(beyond.exitCode, 1)
})

void t.test('read-remote.mjs', async (t) => {
  const snapshot = join(t.testdir(), 'disk.st')
  t.equal((await hexz(['build', image, '-o', snapshot])).exitCode, 0)
  const bytes = readFileSync(snapshot)
  const { url, sentSize, seen } = await serveFile(t, bytes)
  const result = await run('node', [sample('read-remote.mjs'), url, '100000', '5000'])
  t.ok(result.stdout.equals(readFileSync(image).subarray(100_000, 105_000)))
  t.equal(result.stderr, `fetched ${sentSize()} of ${bytes.length} bytes in ${seen.length} requests\n`)
})

void t.test('own-pipeline.mjs', async (t) => {
  const days = 40
  const lines = Array.from({ length: 1000 }, (_, i) => `job ${i} ${sha(`${i}`)} done`)
  const stamped = Array.from({ length: days }, (_, day) =>
    lines.map((line, i) => `2026-03-${day} ${i}:00 ${line}\n`).join('')
  ).join('')
  const daySize = lines.join('\n').length + 1
  const folder = t.testdir({ 'log.gz': gzipSync(stamped), 'empty.gz': gzipSync('') })

  const told = await run('node', [sample('own-pipeline.mjs'), join(folder, 'log.gz')])
  const match = /^(\d+) bytes without time stamps, of which (\d+) repeat\n$/.exec(told.stdout.toString())
  t.equal(told.stderr, '')
  t.equal(Number(match?.[1]), days * daySize)
  // Every day repeats the first, but for the chunks that end where a day does.
  t.ok(Number(match?.[2]) > (days - 1) * (daySize - 4096), `${match?.[2] ?? 'nothing'} repeat`)
  t.ok(Number(match?.[2]) <= (days - 1) * daySize, `${match?.[2] ?? 'nothing'} repeat`)

  const empty = await run('node', [sample('own-pipeline.mjs'), join(folder, 'empty.gz')])
  t.equal(empty.stdout.toString(), '0 bytes without time stamps, of which 0 repeat\n')
})

void t.test('build-to-stream.mjs', async (t) => {
  let status = 201
  let arrived: Promise<Buffer> = Promise.resolve(Buffer.alloc(0))
  const server = createServer((request: IncomingMessage, response) => {
    arrived = buffer(request)
    arrived.then(
      () => response.writeHead(status).end(),
      () => response.destroy()
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.st`

  const direct = await hexz(['build', image, '--profile', 'eda', '--cdc'])
  const sent = await run('node', [sample('build-to-stream.mjs'), image, url])
  t.equal(sent.stdout.toString(), `${direct.stdout.length} bytes sent, answer 201\n`)
  t.equal(sent.exitCode, 0)
  t.ok((await arrived).equals(direct.stdout), 'the server has the snapshot that a file would hold')

  status = 507
  const refused = await run('node', [sample('build-to-stream.mjs'), image, url])
  t.equal(refused.stdout.toString(), `${direct.stdout.length} bytes sent, answer 507\n`)
  t.equal(refused.exitCode, 1)

  const missing = await run('node', [sample('build-to-stream.mjs'), join(root, 'missing.img'), url])
  t.equal(missing.stderr, `${join(root, 'missing.img')} does not exist\n`)
  t.equal(missing.exitCode, 1)

  server.close()
  server.closeAllConnections()
  const nobody = await run('node', [sample('build-to-stream.mjs'), image, url])
  t.match(nobody.stderr, 'ECONNREFUSED')
  t.equal(nobody.exitCode, 1)
})

function sha(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

void t.test('encrypted-pipeline.mjs', async (t) => {
  const snapshot = join(t.testdir(), 'disk.st')
  const env = { HEXZ_PASSPHRASE: 'open sesame' }
  const told = await run('node', [sample('encrypted-pipeline.mjs'), image, snapshot], { env })
  t.equal(
    told.stdout.toString(),
    `${snapshot}: ${readFileSync(snapshot).length} bytes, sealed\n`,
    told.stderr
  )
  const back = await hexz(['extract', snapshot], { env })
  t.ok(back.stdout.equals(readFileSync(image)), back.stderr)
  const shown = await hexz(['inspect', snapshot, '--json'], { env })
  t.match(JSON.parse(shown.stdout.toString()), { settings: { profile: 'eda', encrypted: true } })
  const none = await run('node', [sample('encrypted-pipeline.mjs'), image, `${snapshot}2`])
  t.match(none.stderr, 'no passphrase or recipient is given')
})
