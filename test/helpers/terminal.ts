import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cliPath } from './run-cli.js'

/** `false`, or why tests on a terminal are left out. */
export const skipTerminal: string | false = ((): string | false => {
  try {
    if (execFileSync('script', ['--version']).toString().includes('util-linux')) return false
  } catch {
    // told below
  }
  return 'script of util-linux is not installed'
})()

/** The command line, for a shell. */
export const hexz = `'${process.execPath}' '${cliPath}'`

/** What is done when a prompt comes: keys to press, or anything else. */
export type Answer = string | Uint8Array | (() => void)

/**
 * Runs a shell command on a terminal of its own, and gives one answer to each prompt when it comes.
 *
 * @returns all that the terminal showed, and how the command ended
 */
export async function onTerminal(
  cwd: string,
  command: string,
  answers: readonly Answer[],
  prompt = /(passphrase|Passphrase|Again|\.key): ?$/
): Promise<{ code: number | null; shown: string }> {
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    cwd,
    stdio: 'pipe',
    env: { ...process.env, SHELL: '/bin/sh' }
  })
  const left = [...answers]
  let shown = ''
  child.stdout.on('data', (text: Buffer) => {
    shown += text.toString()
    if (!prompt.test(shown)) return
    const answer = left.shift()
    if (typeof answer === 'function') answer()
    else if (answer !== undefined) child.stdin.write(answer)
  })
  const timer = setTimeout(() => child.kill(), 60_000)
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  return { code, shown }
}
