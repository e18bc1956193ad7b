import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The project, from where the compiled tests lie. */
export const root = fileURLToPath(new URL('../../../', import.meta.url))
export const cli = join(root, 'dist', 'cli.js')

export interface Result {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: Buffer
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  /** Put before the PATH. */
  readonly path?: string
  readonly input?: string | Uint8Array
  readonly env?: Readonly<Record<string, string>>
}

/** Runs a program to its end and keeps everything it said. */
export async function run(
  file: string,
  args: readonly string[],
  { cwd = root, path, input = '', env = {} }: RunOptions = {}
): Promise<Result> {
  const PATH = [path, process.env.PATH].filter((part) => part !== undefined).join(delimiter)
  const child = spawn(file, args, { cwd, env: { ...process.env, ...env, PATH } })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (piece: Buffer) => stdout.push(piece))
  child.stderr.on('data', (piece: Buffer) => stderr.push(piece))
  child.stdin.on('error', () => undefined) // a program need not read its input
  child.stdin.end(input)
  const [exitCode, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { exitCode, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }
}

export const hexz = (args: readonly string[], options?: RunOptions): Promise<Result> =>
  run(process.execPath, [cli, ...args], options)

/** A folder to put before the PATH: `hexz` as installed, and scripts that stand for other programs. */
export function makeTools(folder: string, scripts: Readonly<Record<string, string>> = {}): string {
  mkdirSync(folder, { recursive: true })
  const all = { hexz: `exec '${process.execPath}' '${cli}' "$@"`, ...scripts }
  for (const [name, script] of Object.entries(all)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(folder, name), 0o755)
  }
  return folder
}

/** What to tell a test that needs programs: `false`, or the reason to skip it. */
export function skipUnless(...programs: readonly string[]): string | false {
  const missing = programs.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0)
  return missing.length === 0 ? false : `not installed: ${missing.join(', ')}`
}
