import { runCommand } from '../../lib/commands/run-command.js'
import { tellError } from '../../lib/commands/tell-error.js'
import { runCli, type CliResult } from './run-cli.js'

/**
 * Runs a command line in this process, in a tenth of the time that a process takes: for the many ways in which one can fail, or be
 * written. One at a time: the folder, the environment and standard error are this process's own. Standard output is left to tap, so
 * a command must not write there.
 */
export async function runHere(
  args: readonly string[],
  { cwd, env = {} }: { cwd: string; env?: Readonly<Record<string, string>> }
): Promise<CliResult> {
  if (args.includes('-')) return runCli(args, { cwd, env }) // standard input is not ours
  const before = process.cwd()
  process.chdir(cwd)
  const given = { ...process.env }
  Object.assign(process.env, env)
  const said: string[] = []
  const write = process.stderr.write.bind(process.stderr)
  process.stderr.write = (text: Uint8Array | string): boolean => said.push(text.toString()) > 0
  let code = 0
  try {
    await runCommand(args, new AbortController().signal)
  } catch (error) {
    const { exitCode, text } = tellError(error, args)
    code = exitCode
    if (text !== undefined) said.push(`${text}\n`)
  } finally {
    process.stderr.write = write
    for (const name of Object.keys(env)) {
      if (given[name] === undefined) Reflect.deleteProperty(process.env, name)
      else process.env[name] = given[name]
    }
    process.chdir(before)
  }
  return { code, signal: null, stdout: Buffer.alloc(0), stderr: said.join('') }
}
