import { runCommand } from '../../lib/commands/run-command.js'
import { tellError } from '../../lib/commands/tell-error.js'
import type { CliResult } from './run-cli.js'

/**
 * Runs a command line in this process, in a hundredth of the time that a process takes, for the many ways in which one can fail. What
 * the command writes itself goes where this process writes. One at a time: the folder and the environment are the process's own.
 */
export async function runHere(
  args: readonly string[],
  { cwd, env = {} }: { cwd: string; env?: Readonly<Record<string, string>> }
): Promise<CliResult> {
  const before = process.cwd()
  process.chdir(cwd)
  Object.assign(process.env, env)
  const ended = { signal: null, stdout: Buffer.alloc(0) }
  try {
    await runCommand(args, new AbortController().signal)
    return { ...ended, code: 0, stderr: '' }
  } catch (error) {
    const { exitCode, text } = tellError(error, args)
    return { ...ended, code: exitCode, stderr: text === undefined ? '' : `${text}\n` }
  } finally {
    for (const name of Object.keys(env)) Reflect.deleteProperty(process.env, name)
    process.chdir(before)
  }
}
