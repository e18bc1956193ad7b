import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildOfStages } from '../helpers/build.js'
import { mixedBytes, zeroBytes } from '../helpers/data.js'
import { serveFile } from '../helpers/http-server.js'
import { failsWith, runCli, runShell, scratch } from '../helpers/run-cli.js'

const disk = Buffer.concat([
  mixedBytes(2_000_000, 1, 65_536),
  zeroBytes(1_000_000),
  mixedBytes(1_000_000, 2, 65_536)
])
const file = await buildOfStages([[disk]])

function setUp(t: Test): { cwd: string; at: (name: string) => string } {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'a.st'), file)
  return { cwd, at: (name) => join(cwd, name) }
}

await t.test('extract --in-place: changes what differs, and tells how much', async (t) => {
  const { cwd, at } = setUp(t)
  const old = Buffer.concat([disk, Buffer.from('more')])
  old.fill(0x11, 1_500_000, 1_500_010)
  writeFileSync(at('b.img'), old)
  const run = await runCli(['extract', 'a.st', '-o', 'b.img', '--in-place'], { cwd })
  t.strictSame([run.code, run.stdout.toString()], [0, ''])
  t.match(
    run.stderr,
    /^hexz: b\.img: 3\.81 MiB of stream disk, [^;]+; 4 KiB \(4096 bytes\) differed and were written\n$/
  )
  t.ok(readFileSync(at('b.img')).equals(disk))
  const part = await runCli(
    ['extract', 'a.st', '-o', 'b.img', '--in-place', '--offset', '100', '--length', '1K', '--json'],
    { cwd }
  )
  t.equal(part.code, 0)
  t.match(JSON.parse(part.stdout.toString()), { target: 'b.img', offset: 100, size: 1024, writtenSize: 1024 })
  t.ok(readFileSync(at('b.img')).equals(disk.subarray(100, 1124)), 'the range, and nothing behind it')
})

await t.test('extract --in-place: what it refuses, and what it leaves', async (t) => {
  const { cwd, at } = setUp(t)
  const fails = async (args: string[], code: number, message: string): Promise<void> =>
    failsWith(t, await runCli(['extract', ...args], { cwd }), { code, message }, args.join(' '))
  await fails(['a.st', '--in-place'], 2, '--in-place changes a file or device; name it with -o')
  await fails(
    ['a.st', '--in-place', '-o', 'none.img'],
    4,
    'none.img does not exist, so nothing can be changed in it; extract makes it when it is not in place'
  )
  await fails(
    ['a.st', '--in-place', '-o', 'a.st'],
    4,
    'a.st is the same file as the source a.st; choose another target'
  )
  writeFileSync(at('b.img'), '')
  const full = await runShell('ulimit -f 1000; hexz extract a.st --in-place -o b.img', { cwd })
  failsWith(
    t,
    full,
    {
      code: 4,
      message:
        "b.img can't be written: no space is left there; b.img is now partly old and partly new: extract to it again"
    },
    'a limit on file sizes'
  )
  const again = await runCli(['extract', 'a.st', '--in-place', '-o', 'b.img'], { cwd })
  t.equal(again.code, 0)
  t.ok(readFileSync(at('b.img')).equals(disk))
})

await t.test('snapshots behind a URL', async (t) => {
  const { cwd } = setUp(t)
  const server = await serveFile(t, file)
  const range = await runCli(['extract', server.url, '--offset', '3500000', '--length', '64K'], { cwd })
  t.equal(range.code, 0)
  t.ok(range.stdout.equals(disk.subarray(3_500_000, 3_565_536)))
  const [, bytes, requests] = /\((\d+) bytes\) fetched in (\d+) requests\n$/.exec(range.stderr) ?? []
  t.equal(Number(bytes), server.sentSize(), range.stderr)
  t.equal(Number(requests), server.seen.length)
  t.ok(server.sentSize() < 5 * 128 * 1024, `${server.sentSize()} of ${file.length} bytes`)
  const sent = server.sentSize()

  const whole = await runCli(['extract', server.url, '-o', 'b.img', '--json'], { cwd })
  t.equal(whole.code, 0)
  t.ok(readFileSync(join(cwd, 'b.img')).equals(disk))
  const { fetchedSize, requestCount } = JSON.parse(whole.stdout.toString()) as Record<string, number>
  t.equal(fetchedSize, server.sentSize() - sent)
  t.ok((requestCount ?? 0) > 2)
  const verified = await runCli(['verify', server.url], { cwd })
  t.match(verified.stdout.toString(), `${server.url}: intact, 3.81 MiB in `)
  t.equal(verified.code, 0)
  const inspected = await runCli(['inspect', server.url, '--json'], { cwd })
  t.match(JSON.parse(inspected.stdout.toString()), { file: server.url, storedSize: file.length })
  const same = await runCli(['diff', 'a.st', server.url], { cwd })
  t.strictSame([same.code, same.stderr], [0, 'hexz: disk: no byte differs\n'])

  const plain = await serveFile(t, file, (_, answer) => {
    Object.assign(answer, { status: 200, headers: {}, body: file })
    return undefined
  })
  failsWith(
    t,
    await runCli(['extract', plain.url], { cwd }),
    {
      code: 3,
      message: `${plain.url} can't be read: its server does not give ranges of a file (it answered a range request with 200); download the snapshot and use the file`
    },
    'a server without ranges'
  )
  const moved = await serveFile(t, file, (count, answer) => {
    if (count > 2) answer.headers.etag = '"2"'
    return undefined
  })
  failsWith(
    t,
    await runCli(['extract', moved.url, '-o', 'c.img'], { cwd }),
    { code: 3, message: `${moved.url} changed while it was read: its ETag is another one` },
    'a file that changes'
  )
})
