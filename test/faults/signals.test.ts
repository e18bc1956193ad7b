import type { ChildProcess } from 'node:child_process'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { build } from '../../lib/index.js'
import { cipherBytes } from '../helpers/bulk-data.js'
import { contentsOf, runShell, scratch, startCli, until } from '../helpers/run-cli.js'

const MiB = 1024 * 1024
const disk = cipherBytes(24 * MiB, 1)
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
type Signal = (typeof signals)[number]

function setUp(t: Test): { cwd: string; names: () => string[] } {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  writeFileSync(join(cwd, 'old'), 'old')
  execFileSync('mkfifo', [join(cwd, 'fifo')])
  return { cwd, names: () => Object.keys(contentsOf(cwd)) }
}

/** A process that is told to stop must be gone soon: a hang is told from a slow machine by a wide margin. */
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
      const child = startCli(['build', '-', '--progress', 'none', ...args], { cwd })
      child.stdin?.on('error', () => undefined)
      child.stdin?.write(disk.subarray(0, 4 * MiB)) // and never ends
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
    cases.map(async ([words, signal]) => {
      const target = words.startsWith('build -') ? 'new.st' : 'new.img'
      const child = startCli(
        words.replace(target, `${cases.findIndex(([other]) => other === words)}.x`).split(' '),
        { cwd }
      )
      await isReady(child)
      await stops(t, child, signal, words)
    })
  )
  t.strictSame(contentsOf(cwd), before, 'nothing is left')
})

/** Whether a process has come to handle signals; there is nothing else to see of one that waits for its first byte. */
async function isReady({ pid }: ChildProcess): Promise<void> {
  if (process.platform !== 'linux') {
    await new Promise((resolve) => setTimeout(resolve, 2000))
    return
  }
  const caught = 1n << 14n // SIGTERM
  await until('signals are handled', () => {
    const [, mask = '0'] =
      /^SigCgt:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid ?? 0}/status`, 'utf8')) ?? []
    return (BigInt(`0x${mask}`) & caught) !== 0n
  })
  await new Promise((resolve) => setTimeout(resolve, 500)) // and on to where it waits
}

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
    await stops(t, child, signal, words)
    t.strictSame(contentsOf(cwd), before, 'no .partial is left, nothing is changed')
  }
})

await t.test('as the shell sees it', async (t) => {
  const { cwd } = setUp(t)
  for (const [signal, code] of [
    ['INT', 130],
    ['TERM', 143],
    ['HUP', 129]
  ] as const) {
    const script = `sleep 60 | { hexz build - -o new.st & pid=$!; sleep 1.5; kill -${signal} $pid; wait $pid; echo $?; }`
    const { stdout, stderr } = await runShell(
      `set -m\n${script} & wait %%; kill -- -$(jobs -p) 2>/dev/null`,
      { cwd }
    )
    t.equal(stdout.toString(), `${code}\n`, `SIG${signal}`)
    t.match(stderr, new RegExp(`hexz: stopped by SIG${signal} before it was done\n`))
  }
})
