import { readFileSync } from 'node:fs'
import { UsageError } from '../errors.js'
import { helpOf } from './command.js'
import { commands } from './index.js'

const overview = `hexz: disk images to compressed, deduplicated snapshots that can be read at any offset

  hexz build SOURCE -o out.st      make a snapshot; - is standard input
  hexz pack SOURCE -o out.st       the same with every setting
  hexz train SOURCE... -o FILE     make a dictionary for many snapshots
  hexz predict SOURCE              tell what each profile would give
  hexz extract in.st -o disk.img   get the bytes back, whole or a range
  hexz inspect in.st               show what a snapshot holds
  hexz verify in.st                check every byte
  hexz diff a.st b.st              show where two differ
  hexz serve in.st                 offer it as a read-only disk (NBD, HTTP)
  hexz mount in.st FOLDER          show it as a file
  hexz keygen -o NAME              make a key pair to encrypt to
  hexz key list in.st              list, add or remove keys
  hexz recover in.st -o disk.img   save what is left of a damaged one

  hexz COMMAND --help              all options of a command
  hexz --version`

/**
 * Runs the command that a line names.
 *
 * @param line the words after `hexz`
 * @throws the command's error, for `tellError`
 */
export async function runCommand([name, ...argv]: readonly string[], signal: AbortSignal): Promise<void> {
  if (name === 'help' && argv.length > 0) return runCommand([...argv.slice(0, 1), '--help'], signal)
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(`${overview}\n`)
    if (name === undefined) process.exitCode = 2
    return
  }
  if (name === '--version' || name === '-V') {
    const { version } = JSON.parse(
      readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
    ) as {
      version: string
    }
    process.stdout.write(`${version}\n`)
    return
  }
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (load === undefined)
    throw new UsageError(
      `there is no command "${name}"; the commands are ${Object.keys(commands).join(', ')}`
    )
  const command = await load()
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(`${helpOf(command)}\n`)
    return
  }
  // Whoever asks for help need not wait for the parser.
  const { parseArguments } = await import('./parse-arguments.js')
  const { guardInputs } = await import('./guard-inputs.js')
  const args = parseArguments(command, argv)
  await guardInputs(command, args)
  await command.run(args, { signal })
}
