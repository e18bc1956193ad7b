import { errnoOf } from '../errors.js'
import { removeUnfinished } from '../target/leftovers.js'
import { targetError } from '../target/write-all.js'
import { runCommand } from './run-command.js'
import { answerWith, dieBy, listen, type Ending } from './signals.js'
import { closedPipeExit, tellError } from './tell-error.js'
import { tuneEngine } from './tune-engine.js'

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

process.stdout.on('error', (error) => {
  // As `hexz inspect … | head` ends it: in silence.
  if (errnoOf(error) === 'EPIPE') process.exit(closedPipeExit)
  fail(targetError(error, 'standard output'))
})
process.stderr.on('error', () => undefined) // nobody reads what we say; the exit code tells it, too

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
  const { exitCode, text } = tellError(thrown, argv)
  if (text !== undefined) process.stderr.write(`${text}\n`)
  return exitCode
}

tuneEngine({ isEndless: isEndless(argv) })
answerWith(() => `hexz: ${argv[0] ?? ''} is running, for ${Math.round(performance.now() / 1000)} s\n`)
try {
  await Promise.race([runCommand(argv, controller.signal), overdue])
  isOver = true
} catch (error) {
  fail(crash ?? error)
}
