import { execFileSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { build } from '../../lib/index.js'
import { cipherBytes } from '../helpers/bulk-data.js'
import {
  cliPath,
  failsWith,
  finished,
  runCli,
  runShell,
  scratch,
  startCli,
  until
} from '../helpers/run-cli.js'

/** Signals that are ignored, signals that only ask, faults that nobody caught: what else can meet a process. */

const MiB = 1024 * 1024
const disk = cipherBytes(40 * MiB, 1)
const readyHook = new URL('../helpers/report-ready.js', import.meta.url).href
const preload = (code: string): string[] => ['--import', `data:text/javascript,${encodeURIComponent(code)}`]

async function setUp(t: Test): Promise<string> {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  execFileSync('mkfifo', [join(cwd, 'fifo')])
  await build({ source: join(cwd, 'disk.img'), target: join(cwd, 'expected.st'), concurrency: 1 })
  return cwd
}

const skip = process.platform === 'linux' ? false : 'only Linux tells which signals are ignored'

await t.test('a signal that was ignored by who started hexz stays ignored', { skip }, async (t) => {
  const cwd = await setUp(t)
  const path = `PATH='${join(process.execPath, '..')}':$PATH`
  const starts: readonly (readonly [how: string, ignored: string])[] = [
    [`nohup '${cliPath}'`, 'HUP'],
    [`nohup '${process.execPath}' '${cliPath}'`, 'HUP'],
    [
      `sh -c "trap '' INT TERM HUP QUIT USR1 USR2; exec '${cliPath}' \\"\\$@\\"" -`,
      'INT TERM HUP QUIT USR1 USR2'
    ]
  ]
  for (const [how, ignored] of starts) {
    const script = `${path}
      ${how} build fifo -f -o new.st --progress none 2> log &
      exec 3> fifo # goes on when hexz has opened it
      for signal in ${ignored}; do kill -$signal $!; sleep 0.1; done
      sleep 0.3; cat disk.img >&3; exec 3>&-
      wait $!; echo "$?"; cmp new.st expected.st; head -n 1 log`
    const { stdout, stderr } = await runShell(script, { cwd })
    t.match(stdout.toString(), /^0\n(nohup: [^\n]*\n)?hexz: new\.st: 40 MiB in, /, how)
    t.equal(stderr, '')
  }
  const script = `${path}
    sh -c "trap '' INT; exec '${cliPath}' \\"\\$@\\"" - build fifo -o other.st 2> log &
    exec 3> fifo; sleep 0.3
    kill -INT $!; kill -HUP $!
    wait $!; echo "$?"; cat log; ls`
  const { stdout } = await runShell(script, { cwd })
  const names = readdirSync(cwd).join('\n')
  t.equal(stdout.toString(), `129\nhexz: stopped by SIGHUP before it was done\n${names}\n`, 'others are not')
  t.notMatch(names, 'other.st')
})

/** Starts a command that waits for its input, and gives what it has said up to a number of lines. */
async function asked(child: ChildProcess, signals: readonly NodeJS.Signals[]): Promise<string> {
  let stderr = ''
  child.stderr?.on('data', (text: Buffer) => (stderr += text.toString()))
  for (const [i, signal] of signals.entries()) {
    child.kill(signal)
    await until(`${signal} is answered`, () => stderr.split('\n').length > i + 1)
  }
  return stderr
}

await t.test('SIGUSR1 and SIGUSR2 are answered with how far it is, and no debugger', async (t) => {
  const cwd = await setUp(t)
  for (const [mode, line] of [
    ['none', /^(hexz: read [\d.]+ MiB, [\d.]+ MiB written, [\d.]+ [KM]iB\/s\n){2}$/],
    ['json', /^(\{"event":"progress","done":\d+,"stored":\d+,"elapsedMs":\d+\}\n){2,}$/]
  ] as const) {
    const child = startCli(['build', '-', '-f', '-o', 'new.st', '--progress', mode], { cwd })
    t.teardown(() => child.kill('SIGKILL'))
    child.stdin?.write(disk.subarray(0, 36 * MiB))
    const partial = join(cwd, 'new.st.partial')
    await until('it has written', () => existsSync(partial) && statSync(partial).size > MiB)
    t.match(await asked(child, ['SIGUSR1', 'SIGUSR2']), line, mode)
    child.stdin?.end(disk.subarray(36 * MiB))
    t.same(await once(child, 'exit'), [0, null], 'and goes on')
    t.ok(readFileSync(join(cwd, 'new.st')).equals(readFileSync(join(cwd, 'expected.st'))))
  }
  const options = {
    cwd,
    nodeOptions: ['--import', readyHook],
    stdio: ['pipe', 'pipe', 'pipe', 'pipe']
  } as const
  const child = startCli(['inspect', '-'], { ...options, stdio: [...options.stdio] })
  await once(child.stdio[3] as Readable, 'data')
  t.match(await asked(child, ['SIGUSR1']), /^hexz: (inspect is running, for|running for) \d+ s\n$/)
  child.kill('SIGTERM')
  await once(child, 'exit')
})

await t.test('what nobody caught ends a run like a signal: one line, and nothing is left', async (t) => {
  const cwd = await setUp(t)
  const bug = 'internal error: no\\nluck; this is a bug of hexz, please report it'
  const waiting = `import { readdirSync } from 'node:fs'; import { isMainThread } from 'node:worker_threads'
    const timer = isMainThread && setInterval(() => { if (!readdirSync('.').includes('new.st.partial')) return; clearInterval(timer); FAULT }, 5)`
  for (const fault of ['throw new Error("no\\nluck")', 'Promise.reject(new Error("no\\nluck"))']) {
    const nodeOptions = preload(waiting.replace('FAULT', fault))
    const child = startCli(['build', '-', '-o', 'new.st', '--progress', 'none'], { cwd, nodeOptions })
    child.stdin?.on('error', () => undefined).write(disk.subarray(0, MiB)) // and never ends
    failsWith(t, await finished(child), { code: 1, message: bug }, fault)
    t.notMatch(readdirSync(cwd).join(), 'new.st')
  }
})

await t.test('a target is removed also when nothing of the run comes to an end', async (t) => {
  const cwd = await setUp(t)
  const nodeOptions = preload(
    `import files from 'node:fs/promises'; import { syncBuiltinESMExports } from 'node:module'
     files.rm = files.unlink = () => new Promise(() => {}); syncBuiltinESMExports()`
  )
  const child = startCli(['build', '-', '-o', 'new.st', '--progress', 'none'], { cwd, nodeOptions })
  child.stdin?.on('error', () => undefined).write(disk.subarray(0, MiB)) // and never ends
  await until('the build is writing', () => existsSync(join(cwd, 'new.st.partial')))
  child.kill('SIGTERM')
  const { signal, stderr } = await finished(child)
  t.same([signal, stderr], ['SIGTERM', 'hexz: stopped by SIGTERM before it was done\n'])
  t.notMatch(readdirSync(cwd).join(), 'new.st')
})

await t.test('without threads, hexz works on with one', async (t) => {
  const cwd = await setUp(t)
  const worker = (body: string): string =>
    `import threads from 'node:worker_threads'; import { syncBuiltinESMExports } from 'node:module'; import { EventEmitter } from 'node:events'
     if (threads.isMainThread) { threads.Worker = ${body}; syncBuiltinESMExports() }`
  const failing = `class extends EventEmitter {
    constructor() { super(); setTimeout(() => { this.emit('error', new Error('no thread')); this.emit('exit', 1) }, 5) }
    postMessage() {} terminate() { return Promise.resolve() } }`
  for (const body of ['class { constructor() { throw new Error("EAGAIN") } }', failing]) {
    const nodeOptions = preload(worker(body))
    const args = ['disk.img', '-f', '-o', 'new.st', '--progress', 'none']
    const { code, stderr } = await runCli(['build', ...args], { cwd, nodeOptions })
    t.match([code, stderr], [0, /^hexz: new\.st: 40 MiB in, /])
    t.ok(readFileSync(join(cwd, 'new.st')).equals(readFileSync(join(cwd, 'expected.st'))), 'the same bytes')
  }
})
