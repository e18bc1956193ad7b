import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { enter, readRange } from '../helpers/nbd-client.js'
import { mixedBytes, randomBytes } from '../helpers/data.js'
import { eachOf, failsWith, runCli, runShell, scratch, startCli } from '../helpers/run-cli.js'

const disk = randomBytes(1_000_000, 1)
const memory = mixedBytes(70_000, 2)
const env = { HEXZ_PASSPHRASE: 'nine lives' }

async function setUp(t: Test): Promise<string> {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  writeFileSync(join(cwd, 'ram.img'), memory)
  const build = ['build', 'disk.img', '--memory', 'ram.img', '--concurrency', '1', '--progress', 'none']
  t.equal((await runCli([...build, '-o', 'a.st'], { cwd })).code, 0)
  t.equal((await runCli([...build, '-o', 'e.st', '-e'], { cwd, env })).code, 0)
  return cwd
}

interface Running {
  readonly child: ChildProcess
  /** Lines of standard output. */
  readonly uris: string[]
  readonly stderr: () => string
  /** Exit code and signal. */
  readonly stop: (signal: NodeJS.Signals) => Promise<(number | string | null)[]>
}

/** Starts a command, and waits for so many lines of standard output. */
async function start(args: readonly string[], cwd: string, lineCount: number): Promise<Running> {
  const child = startCli(args, { cwd, ...(args[1] === 'e.st' ? { env } : {}) })
  let stdout = ''
  let stderr = ''
  child.stderr?.on('data', (text: Buffer) => (stderr += text.toString()))
  const lines = (): string[] => stdout.split('\n').slice(0, -1)
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (text: Buffer) => {
      stdout += text.toString()
      if (lines().length >= lineCount) resolve()
    })
    child.on('close', (code) => reject(new Error(`ended with ${code ?? 'a signal'}: ${stderr}`)))
  })
  return {
    child,
    uris: lines(),
    stderr: () => stderr,
    async stop(signal) {
      const closed = once(child, 'close') as Promise<(number | string | null)[]>
      child.kill(signal)
      return closed
    }
  }
}

await t.test('hexz serve', async (t) => {
  const cwd = await setUp(t)

  await t.test('over a socket and HTTP, until a signal', async (t) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      const args = ['serve', 'a.st', '--nbd', 'unix:s.sock', '--http', '127.0.0.1:0']
      const { uris, stderr, stop } = await start(args, cwd, 2)
      t.equal(uris[0], 'nbd+unix:///?socket=s.sock')
      t.match(uris[1], /^http:\/\/127\.0\.0\.1:\d+\/$/)
      const client = await enter(join(cwd, 's.sock'), { name: 'memory' })
      t.ok((await readRange(client, 5, 60_000)).equals(memory.subarray(5, 60_005)))
      const response = await fetch(`${uris[1] ?? ''}disk`, { headers: { range: 'bytes=1000-1999' } })
      t.ok(Buffer.from(await response.arrayBuffer()).equals(disk.subarray(1000, 2000)))
      t.same(await stop(signal), [null, signal], 'ends by the signal, with a client connected')
      t.notOk(existsSync(join(cwd, 's.sock')))
      t.equal(
        stderr(),
        `hexz: serving disk (977 KiB) and memory (68.4 KiB) of a.st until it is stopped\nhexz: stopped by ${signal}\n`
      )
    }
  })

  for (const threads of [[], ['--concurrency', '0'], ['--concurrency', '2']])
    await t.test(`an encrypted snapshot, without a cache, ${threads[1] ?? 'default'} threads`, async (t) => {
      const args = ['serve', 'e.st', '--nbd', 'unix:e.sock', '--cache-size', '0', ...threads]
      const { stop } = await start(args, cwd, 1)
      const client = await enter(join(cwd, 'e.sock'))
      for (let i = 0; i < 2; i++)
        t.ok((await readRange(client, 3, 999_997)).equals(disk.subarray(3)), 'the bytes')
      t.same(await stop('SIGTERM'), [null, 'SIGTERM'])
    })

  await t.test('a damaged snapshot: each place is told once', async (t) => {
    const bytes = readFileSync(join(cwd, 'a.st'))
    bytes[500_000] = (bytes[500_000] ?? 0) ^ 1
    writeFileSync(join(cwd, 'bad.st'), bytes)
    const { stderr, stop } = await start(['serve', 'bad.st', '--nbd', 'unix:b.sock'], cwd, 1)
    const client = await enter(join(cwd, 'b.sock'))
    for (let i = 0; i < 3; i++) await t.rejects(readRange(client, 400_000, 200_000), /chunk of type 32770/)
    t.ok((await readRange(client, 0, 100_000)).equals(disk.subarray(0, 100_000)))
    await stop('SIGINT')
    const [first, told, last, ...more] = stderr().split('\n')
    t.match(first, /^hexz: serving /)
    t.match(told, /^hexz: a read failed: bad\.st is damaged at byte \d+: /)
    t.same([last, ...more], ['hexz: stopped by SIGINT', ''])
  })

  await t.test('a port that others can reach is warned of', async (t) => {
    const { uris, stderr, stop } = await start(['serve', 'a.st', '--nbd', '0.0.0.0:0'], cwd, 1)
    t.match(uris, [/^nbd:\/\/0\.0\.0\.0:\d+$/])
    t.match(
      stderr(),
      /^hexz: other machines may reach 0\.0\.0\.0, and whoever does can read all of the snapshot\n/
    )
    await stop('SIGINT')
  })

  await t.test('what cannot be served', async (t) => {
    const run = (...args: string[]): ReturnType<typeof runCli> => runCli(['serve', ...args], { cwd })
    const cases: readonly (readonly [string[], number, string | RegExp])[] = [
      [[], 2, 'no snapshot is named; give a file, or - for standard input'],
      [['a.st', 'b.st'], 2, '"b.st" is one argument too many'],
      [['a.st', '--nbd', 'x'], 2, '--nbd x is no address; write unix:PATH, HOST:PORT or [IPv6]:PORT'],
      [['a.st', '--http', 'unix:'], 2, '--http unix: names no socket'],
      [['a.st', '--cache-size', 'x'], 2, /^hexz: --cache-size x is not a size; /],
      [['none.st', '--nbd', 'unix:n.sock'], 3, 'none.st does not exist'],
      [['disk.img', '--nbd', 'unix:n.sock'], 5, /disk\.img/],
      [['e.st', '--nbd', 'unix:n.sock', '--passphrase-file', 'disk.img'], 6, /./],
      [['a.st', '--nbd', 'unix:none/n.sock'], 4, "can't listen at none/n.sock: its folder does not exist"]
    ]
    await eachOf(cases, async ([args, code, message]) =>
      failsWith(t, await run(...args), { code, message }, args.join(' '))
    )
    t.notOk(existsSync(join(cwd, 'n.sock')))
  })

  await t.test('hexz mount: without nbdfuse, it says what to install', async (t) => {
    const run = (args: string): ReturnType<typeof runShell> =>
      runShell(`PATH=/nowhere hexz mount ${args}`, { cwd })
    const missing =
      'hexz mount needs nbdfuse: install libnbd-bin and fuse3 (Debian, Ubuntu) or nbdfuse (Fedora); or use hexz serve with an NBD client'
    failsWith(t, await run('a.st m'), { code: 7, message: missing }, 'no nbdfuse')
    const usage = 'name a snapshot and an empty folder: hexz mount SNAPSHOT FOLDER'
    failsWith(t, await run('a.st'), { code: 2, message: usage }, 'no folder')
  })
})
