import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { errnoOf, isHexzError, systemLimit, UsageError, withRemedy } from '../errors.js'
import { hideSecrets } from '../reader/http-url.js'
import { removeUnfinished } from '../target/leftovers.js'
import { targetError } from '../target/write-all.js'
import { helpOf, kebab } from './command.js'
import { commands } from './index.js'
import { jsonText, printable } from './printable.js'
import { answerWith, dieBy, listen, type Ending } from './signals.js'
import { tuneEngine } from './tune-engine.js'

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

const argv = process.argv.slice(2)
const controller = new AbortController()
let received: Ending | undefined

listen((signal) => {
  received ??= signal
  controller.abort()
})

/** Commands that a signal is the proper end of. */
const commandsWithoutEnd: readonly string[] = ['serve', 'mount']
const isEndless = ([name = '']: readonly string[]): boolean => commandsWithoutEnd.includes(name)

/** How long a run that was told to stop may take for its cleaning up. */
const stopMs = 1000
/** Rejects when a run does not stop by itself: it waits for a pipe that nobody opens, say. */
const overdue = new Promise<never>((_, reject) => {
  controller.signal.addEventListener('abort', () => {
    setTimeout(() => reject(controller.signal.reason as Error), stopMs)
  })
})

/** What was thrown where nobody caught it; the run is stopped as by a signal, so that it cleans up. */
let crash: unknown
let isOver = false
process.on('uncaughtException', (error) => {
  if (isOver) fail(error)
  crash ??= error
  controller.abort(error)
})
// What Node has to say to programmers is no message of ours.
if (!('HEXZ_DEBUG' in process.env)) process.removeAllListeners('warning')

/** The reader of our output went away (`hexz inspect … | head`): the shell's convention is 128 + 13, in silence. */
const closedPipeExit = 128 + constants.signals.SIGPIPE
process.stdout.on('error', (error) => {
  if (errnoOf(error) === 'EPIPE') process.exit(closedPipeExit)
  fail(targetError(error, 'standard output'))
})
process.stderr.on('error', () => undefined) // nobody reads what we say; the exit code tells it, too

async function main([name, ...argv]: readonly string[]): Promise<void> {
  if (name === 'help' && argv.length > 0) return main([...argv.slice(0, 1), '--help'])
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
  await command.run(args, { signal: controller.signal })
}

/** One line on standard error, and the end. Waits for nothing: not for a reader of what was written, nor for a source. */
function fail(error: unknown): void {
  try {
    removeUnfinished()
  } catch {
    // The line that is to come is about what ended the run.
  }
  if (received !== undefined) {
    process.stderr.write(`hexz: stopped by ${received}${isEndless(argv) ? '' : ' before it was done'}\n`)
    dieBy(received)
    return
  }
  process.exit(told(error))
}

/** Prints an error, and gives its exit code. */
function told(thrown: unknown): number {
  const error = isHexzError(thrown) ? thrown : (systemLimit(thrown) ?? thrown)
  if (!isHexzError(error)) {
    const what = error instanceof Error ? error.message : String(error)
    process.stderr.write(
      `hexz: internal error: ${printable(what)}; this is a bug of hexz, please report it\n`
    )
    if ('HEXZ_DEBUG' in process.env && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`)
    return 1
  }
  if (error.code === 'TARGET_CLOSED' && argv[0] === 'extract') return closedPipeExit
  const { offset, expected, found, remedy } = error.details
  const inFlags = withRemedy(error.summary, remedy, (option) => `--${kebab(option)}`)
  const message = hideSecrets(inFlags, argv)
  const line = argv.includes('--json')
    ? jsonText({
        event: 'error',
        code: error.code,
        exitCode: error.exitCode,
        message,
        offset,
        expected,
        found
      })
    : `hexz: ${printable(message)}`
  process.stderr.write(`${line}\n`)
  return error.exitCode
}

tuneEngine({ isEndless: isEndless(argv) })
answerWith(() => `hexz: ${argv[0] ?? ''} is running, for ${Math.round(performance.now() / 1000)} s\n`)
try {
  await Promise.race([main(argv), overdue])
  isOver = true
} catch (error) {
  fail(crash ?? error)
}
