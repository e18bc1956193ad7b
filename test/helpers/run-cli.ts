import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { text, buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

/** The compiled command line, run as a real process. */
export const cliPath = fileURLToPath(new URL('../../cli.js', import.meta.url))

/** No command of a test takes anywhere near as long; one that does hangs, and is ended and seen by its signal. */
const hangMs = 30_000

export interface CliOptions {
  /** Written to standard input, which then ends. Default: standard input is empty. */
  readonly stdin?: Uint8Array | string
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** Runs the command as this user. */
  readonly uid?: number
  /** In a session of its own, which has no terminal. */
  readonly isDetached?: boolean
  /** Options of node itself. */
  readonly nodeOptions?: readonly string[]
}

export interface CliResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: Buffer
  readonly stderr: string
}

/** Runs `hexz ARGS` to its end. */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const child = startCli(args, options)
  child.stdin?.on('error', () => undefined) // a command that fails early reads nothing
  child.stdin?.end(options.stdin ?? '')
  return finished(child)
}

export interface StartOptions extends CliOptions {
  readonly stdio?: SpawnOptions['stdio']
}

/** Starts `hexz ARGS`; all three standard streams are pipes unless `stdio` says otherwise. */
export function startCli(
  args: readonly string[],
  { cwd, env, uid, nodeOptions = [], isDetached = false, stdio = 'pipe' }: StartOptions = {}
): ChildProcess {
  return spawn(process.execPath, [...nodeOptions, cliPath, ...args], {
    stdio,
    detached: isDetached,
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd }),
    ...(uid === undefined ? {} : { uid, gid: uid })
  })
}

/** What a process printed, and how it ended. */
export async function finished(child: ChildProcess): Promise<CliResult> {
  const timer = setTimeout(() => child.kill('SIGABRT'), hangMs)
  const [stdout, stderr, [code, signal]] = await Promise.all([
    child.stdout?.destroyed === false ? buffer(child.stdout) : Buffer.alloc(0),
    child.stderr?.destroyed === false ? text(child.stderr) : '',
    once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  ])
  clearTimeout(timer)
  return { code, signal, stdout, stderr }
}

/** Runs a script of bash (which `script` then runs, too), in which `hexz` is the command line. A pipeline's exit codes are in `PIPESTATUS`. */
export async function runShell(script: string, { cwd, env }: CliOptions = {}): Promise<CliResult> {
  const prelude = `export SHELL="$BASH"\nhexz() { "${process.execPath}" "${cliPath}" "$@"; }\n`
  const child = spawn('bash', ['-c', prelude + script], {
    detached: true, // a group of its own, so that a hang can be ended whole
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    ...(cwd === undefined ? {} : { cwd })
  })
  const timer = setTimeout(() => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  }, hangMs)
  const result = await finished(child)
  clearTimeout(timer)
  return result
}

/** A folder that is removed when the test ends. */
export function scratch(t: Test): string {
  mkdirSync('.tap/scratch', { recursive: true })
  const folder = mkdtempSync(join(process.cwd(), '.tap/scratch/t-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Name → inode and digest of all that lies in a folder, to show that a command changed nothing. */
export function contentsOf(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { withFileTypes: true })
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((entry) => {
        const path = join(folder, entry.name)
        if (!entry.isFile()) return [entry.name, entry.isDirectory() ? 'folder' : 'other']
        const digest = createHash('sha256').update(readFileSync(path)).digest('hex')
        return [entry.name, `${statSync(path).ino} ${digest}`]
      })
  )
}

/** Holds a failed command to the contract: the exit code, and exactly this one line on standard error. */
export function failsWith(
  t: Test,
  { code, signal, stdout, stderr }: CliResult,
  expected: { code: number; message: string | RegExp },
  name: string
): void {
  t.equal(signal, null, `${name}: is not killed`)
  t.equal(code, expected.code, `${name}: exit code`)
  t.equal(stdout.toString(), '', `${name}: nothing on standard output`)
  if (typeof expected.message === 'string') {
    t.equal(stderr, `hexz: ${expected.message}\n`, `${name}: one line on standard error`)
    return
  }
  t.match(stderr, /^hexz: [^\n]+\n$/, `${name}: one line on standard error`)
  t.match(stderr, expected.message, `${name}: message`)
}

/** Works on items a few at a time: a process is slow to start, and there is more than one core. */
export async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values()
  const worker = async (): Promise<void> => {
    for (const item of left) await work(item)
  }
  await Promise.all([worker(), worker(), worker()])
}

/** Waits until something holds; fails after a long while. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (holds()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`waited in vain until ${what}`)
}
