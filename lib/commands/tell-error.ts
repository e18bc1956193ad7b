import { constants } from 'node:os'
import { isHexzError, systemLimit, withRemedy } from '../errors.js'
import { hideSecrets } from '../reader/http-url.js'
import { kebab } from './command.js'
import { jsonText, printable } from './printable.js'

/** The reader of our output went away: the shell's convention is 128 + 13, in silence. */
export const closedPipeExit = 128 + constants.signals.SIGPIPE

/** What is said of an error. */
export interface Told {
  readonly exitCode: number
  /** For standard error, without the newline; `undefined` is silence. */
  readonly text: string | undefined
}

/**
 * How the command line tells an error that ended it: one line, in its own words for options, without the secrets of its
 * arguments.
 *
 * @param argv the words after `hexz`
 */
export function tellError(thrown: unknown, argv: readonly string[]): Told {
  const error = isHexzError(thrown) ? thrown : (systemLimit(thrown) ?? thrown)
  if (!isHexzError(error)) {
    const what = error instanceof Error ? error.message : String(error)
    const text = `hexz: internal error: ${printable(what)}; this is a bug of hexz, please report it`
    const isTraced = 'HEXZ_DEBUG' in process.env && error instanceof Error
    return { exitCode: 1, text: isTraced ? `${text}\n${error.stack ?? ''}` : text }
  }
  if (error.code === 'TARGET_CLOSED' && argv[0] === 'extract')
    return { exitCode: closedPipeExit, text: undefined }
  const { code, exitCode } = error
  const { offset, expected, found, remedy } = error.details
  const inFlags = withRemedy(error.summary, remedy, (option) => `--${kebab(option)}`)
  const message = hideSecrets(inFlags, argv)
  return {
    exitCode,
    text: argv.includes('--json')
      ? jsonText({ event: 'error', code, exitCode, message, offset, expected, found })
      : `hexz: ${printable(message)}`
  }
}
