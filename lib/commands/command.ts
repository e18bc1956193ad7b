import meow from 'meow'
import { UsageError } from '../errors.js'

/** One flag as help and parser need it. */
export interface Flag {
  readonly type: 'string' | 'boolean'
  readonly shortFlag?: string
  /** May be given more than once. */
  readonly isMultiple?: boolean
  /** Shown in the help; `VALUE` is what stands for the value. */
  readonly value?: string
  readonly help: string
}

export type Flags = Readonly<Record<string, Flag>>

/** A parsed command line. Flags keep their text; `options.ts` makes numbers and sizes of it. */
export interface Arguments {
  readonly input: readonly string[]
  readonly flags: Readonly<Record<string, string | boolean | readonly string[] | undefined>>
}

/** Whether a boolean flag was given. */
export function isSet({ flags }: Arguments, name: string): boolean {
  return flags[name] === true
}

export interface CommandContext {
  readonly signal: AbortSignal
}

export interface Command {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  /** Usage lines without `hexz NAME`. */
  readonly usage: readonly string[]
  readonly flags: Flags
  /** Free text under the flags. */
  readonly notes?: string
  run(args: Arguments, context: CommandContext): Promise<void>
}

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/** The help text of one command. */
export function helpOf({ name, summary, usage, flags, notes }: Command): string {
  const rows = Object.entries(flags).map(([flag, { shortFlag, value, help }]) => {
    const short = shortFlag === undefined ? '    ' : `-${shortFlag}, `
    return [`  ${short}--${kebab(flag)}${value === undefined ? '' : ` ${value}`}`, help] as const
  })
  const width = Math.max(...rows.map(([left]) => left.length)) + 2
  const lines = rows.map(([left, help]) => left.padEnd(width) + help)
  return [
    `hexz ${name}: ${summary}`,
    '',
    ...usage.map((line) => `  hexz ${name} ${line}`),
    '',
    ...lines,
    ...(notes === undefined ? [] : ['', notes])
  ].join('\n')
}

/** @throws UsageError for an unknown flag, a flag without its value, one given twice, or an empty word */
export function parseArguments(command: Command, argv: readonly string[]): Arguments {
  const words = checkFlags(command, argv)
  const { input, flags } = meow(helpOf(command), {
    importMeta: import.meta,
    argv: words,
    description: false,
    autoHelp: false,
    autoVersion: false,
    inferType: false,
    flags: Object.fromEntries(
      Object.entries(command.flags).map(([name, { type, shortFlag, isMultiple = false }]) => [
        name,
        { type, isMultiple, ...(shortFlag === undefined ? {} : { shortFlag }) }
      ])
    )
  })
  return { input: input.map(String), flags: flags as Arguments['flags'] }
}

/**
 * meow takes an unknown flag for one with a value, and swallows what follows; a flag without its value
 * becomes empty. Both are mistakes that should be told, with our exit code, before anything happens.
 *
 * @returns the same words with each value tied to its flag by `=`: apart, meow does not take `-` for a value
 */
function checkFlags({ name, flags }: Command, argv: readonly string[]): string[] {
  const seen = new Set<string>()
  const words: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? ''
    if (word === '') throw new UsageError(`a word of the command is empty; see hexz ${name} --help`)
    if (word === '--') return [...words, ...argv.slice(i)]
    if (!word.startsWith('-') || word === '-') {
      words.push(word)
      continue
    }
    const [given = '', inlineValue] = word.split(/=(.*)/s)
    const found = Object.entries(flags).find(
      ([flag, { shortFlag }]) =>
        given === `--${kebab(flag)}` || (shortFlag !== undefined && given === `-${shortFlag}`)
    )
    if (found === undefined)
      throw new UsageError(`${given} is not an option of hexz ${name}; see hexz ${name} --help`)
    const [flag, { type, isMultiple }] = found
    if (seen.has(flag) && isMultiple !== true) throw new UsageError(`--${kebab(flag)} is given twice`)
    seen.add(flag)
    if (type === 'boolean') {
      if (inlineValue !== undefined) throw new UsageError(`--${kebab(flag)} takes no value`)
      words.push(`--${kebab(flag)}`)
      continue
    }
    const value = inlineValue ?? argv[++i]
    if (
      value === undefined ||
      value === '' ||
      (inlineValue === undefined && value.startsWith('-') && value !== '-')
    ) {
      throw new UsageError(`--${kebab(flag)} needs a value; see hexz ${name} --help`)
    }
    words.push(`--${kebab(flag)}=${value}`)
  }
  return words
}
