import type { ChildProcess } from 'node:child_process'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { build } from '../../lib/index.js'
import { cipherBytes } from '../helpers/bulk-data.js'
import { cliPath, contentsOf, scratch, startCli, until } from '../helpers/run-cli.js'

const MiB = 1024 * 1024
const disk = cipherBytes(24 * MiB, 1)
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGXCPU'] as const
type Signal = (typeof signals)[number]

function setUp(t: Test): { cwd: string; names: () => string[] } {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  writeFileSync(join(cwd, 'old'), 'old')
  execFileSync('mkfifo', [join(cwd, 'fifo')])
  return { cwd, names: () => readdirSync(cwd) }
}

const readyHook = new URL('../helpers/report-ready.js', import.meta.url).href

/** In the shell's words the exit codes are 128 and the signal's number: 130, 143, 129, 131, 152. A process that is told to stop must be gone soon: a hang is told from a slow machine by a wide margin. */
const promptMs = 10_000

/** Sends a signal, and holds the process to it: it dies by that signal, soon, and says one line. */
async function stops(t: Test, child: ChildProcess, signal: Signal, name: string): Promise<void> {
  let stderr = ''
  child.stderr?.on('data', (text: Buffer) => (stderr += text.toString()))
  const isLate = setTimeout(() => child.kill('SIGKILL'), promptMs)
  child.kill(signal)
  const [code, by] = (await once(child, 'close')) as [number | null, string | null]
  clearTimeout(isLate)
  t.strictSame([code, by], [null, signal], `${name}: ends as by ${signal}`)
  t.equal(stderr, `hexz: stopped by ${signal} before it was done\n`, `${name}: says so`)
}

await t.test('in the middle of a build to a file', async (t) => {
  for (const signal of signals) {
    const { cwd, names } = setUp(t)
    for (const args of [
      ['-o', 'new.st'],
      ['-o', 'old', '--force']
    ]) {
      const before = contentsOf(cwd)
      // Two of the signals write a core where the system is told to, which is no matter of ours.
      const limit = 'ulimit -c 0; exec "$0" "$@"'
      const words = [process.execPath, cliPath, 'build', '-', '--progress', 'none', ...args]
      const child = spawn('sh', ['-c', limit, ...words], { cwd })
      child.stdin.on('error', () => undefined)
      child.stdin.write(disk.subarray(0, 4 * MiB)) // and never ends
      await until('the build is writing', () => names().some((name) => name.endsWith('.partial')))
      await stops(t, child, signal, `build ${args.join(' ')}`)
      t.strictSame(contentsOf(cwd), before, 'no .partial is left, nothing is changed')
    }
  }
})

await t.test('before the first byte came', async (t) => {
  const { cwd } = setUp(t)
  const before = contentsOf(cwd)
  const cases: readonly (readonly [words: string, signal: Signal])[] = [
    ['build - -o new.st', 'SIGINT'],
    ['build fifo -o new.st', 'SIGTERM'],
    ['build disk.img -o fifo', 'SIGINT'],
    ['extract - -o new.img', 'SIGINT'],
    ['extract fifo -o new.img', 'SIGTERM'],
    ['inspect -', 'SIGTERM'],
    ['verify -', 'SIGHUP'],
    ['recover - -o new.img', 'SIGINT']
  ]
  await Promise.all(
    cases.map(async ([words, signal], number) => {
      const target = words.startsWith('build -') ? 'new.st' : 'new.img'
      const args = words.replace(target, `${number}.x`).split(' ') // they run at the same time
      const child = startCli(args, {
        cwd,
        nodeOptions: ['--import', readyHook],
        stdio: ['pipe', 'pipe', 'pipe', 'pipe']
      })
      await once(child.stdio[3] as Readable, 'data') // signals are handled from here on
      await new Promise((resolve) => setTimeout(resolve, 300)) // and on to where it waits
      await stops(t, child, signal, words)
    })
  )
  t.strictSame(contentsOf(cwd), before, 'nothing is left')
})

await t.test('while nobody reads the output', async (t) => {
  const { cwd } = setUp(t)
  await build({ source: join(cwd, 'disk.img'), target: join(cwd, 'a.st'), concurrency: 1 })
  for (const [words, signal] of [
    ['build disk.img --progress none', 'SIGINT'],
    ['build disk.img --progress none', 'SIGTERM'],
    ['extract a.st --progress none', 'SIGINT'],
    ['extract a.st --progress none', 'SIGHUP']
  ] as const) {
    const child = startCli(words.split(' '), { cwd })
    await until('the pipe is full', () => (child.stdout?.readableLength ?? 0) > 0)
    const closed = stops(t, child, signal, words)
    await once(child, 'exit')
    child.stdout?.resume() // what is in the pipe still, so that it closes
    await closed
  }
})

await t.test('in the middle of extract and recover to a file', async (t) => {
  const { cwd, names } = setUp(t)
  await build({ source: join(cwd, 'disk.img'), target: join(cwd, 'a.st'), concurrency: 1 })
  const before = contentsOf(cwd)
  for (const [words, signal] of [
    ['extract a.st -o new.img --progress none', 'SIGINT'],
    ['extract a.st -o old --force --progress none', 'SIGTERM'],
    ['recover a.st -o new.img --progress none', 'SIGTERM']
  ] as const) {
    const child = startCli(words.split(' '), { cwd })
    await until('it is writing', () => names().some((name) => name.endsWith('.partial')))
    child.kill('SIGSTOP') // it would be done soon
    const stopped = stops(t, child, signal, words)
    child.kill('SIGCONT')
    await stopped
    t.strictSame(contentsOf(cwd), before, 'no .partial is left, nothing is changed')
  }
})
