import meow from 'meow'
import { UsageError } from '../errors.js'
import { helpOf, kebab, type Arguments, type Command } from './command.js'

/** What stands for the text of a value while meow looks at the line. */
const tokenOf = (number: number): string => `@${number}`

/**
 * meow tells flags from words; the text of a value never passes through it, because its parser takes quotes off a
 * value and swallows a word `true` after a boolean flag. So each value reaches a command as it was typed.
 *
 * @throws UsageError for an unknown flag, a flag without its value, one given twice, an empty word, or a word too many
 */
export function parseArguments(command: Command, argv: readonly string[]): Arguments {
  const { words, texts } = splitLine(command, argv)
  const textOf = (token: unknown): string => texts[Number(String(token).slice(1))] ?? ''
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
  const values = Object.entries(flags as Record<string, unknown>).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.map(textOf) : typeof value === 'string' ? textOf(value) : value
  ])
  const found = { input: input.map(textOf), flags: Object.fromEntries(values) as Arguments['flags'] }
  return { ...found, places: fillPlaces(command, found) }
}

/** A flag wins its place, words fill the others. @throws UsageError when words are left over */
function fillPlaces(
  { places }: Command,
  { input, flags }: Pick<Arguments, 'input' | 'flags'>
): Arguments['places'] {
  if (places === 'inputs') return input
  const words = [...input]
  const filled = places.map(({ name, flag = '', instead = '' }) => {
    const value = flags[flag]
    if (flags[instead] !== undefined && value !== undefined)
      throw new UsageError(`--${kebab(flag)} and --${kebab(instead)} both give ${name}; give one`)
    if (flags[instead] !== undefined) return undefined
    return typeof value === 'string' ? value : words.shift()
  })
  if (words.length > 0) throw new UsageError(`"${words.join(' ')}" is one argument too many`)
  return filled
}

interface Line {
  /** Flags and tokens, each value tied to its flag by `=`. */
  readonly words: string[]
  /** What the tokens stand for. */
  readonly texts: string[]
}

/**
 * meow takes an unknown flag for one with a value, and swallows what follows; a flag without its value becomes empty.
 * Both are mistakes that are told here, before anything happens.
 */
function splitLine(command: Command, argv: readonly string[]): Line {
  const seen = new Set<string>()
  const line: Line = { words: [], texts: [] }
  const add = (text: string, flag?: string): void => {
    const token = tokenOf(line.texts.push(text) - 1)
    line.words.push(flag === undefined ? token : `--${kebab(flag)}=${token}`)
  }
  const rest = [...argv]
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '') throw new UsageError(`a word of the command is empty; see hexz ${command.name} --help`)
    if (word === '--') {
      for (const name of rest.splice(0)) add(name)
      break
    }
    if (!word.startsWith('-') || word === '-') {
      add(word)
      continue
    }
    const { flag, value, after } = readFlag(command, word)
    const { type, isMultiple } = command.flags[flag] ?? { type: 'boolean' }
    if (seen.has(flag) && isMultiple !== true) throw new UsageError(`--${kebab(flag)} is given twice`)
    seen.add(flag)
    if (after !== undefined) rest.unshift(after)
    if (type === 'boolean') {
      if (value !== undefined) throw new UsageError(`--${kebab(flag)} takes no value`)
      line.words.push(`--${kebab(flag)}`)
    } else add(value ?? takeValue(command, flag, rest), flag)
  }
  return line
}

interface FoundFlag {
  readonly flag: string
  /** What is tied to it. */
  readonly value?: string | undefined
  /** Short flags that were joined to it. */
  readonly after?: string | undefined
}

/** `--flag`, `--flag=value`, `-f`, `-f=value`, `-fvalue`, or several short flags in one, as in `-ef`. */
function readFlag({ name, flags }: Command, word: string): FoundFlag {
  const [given = '', value] = word.split(/=(.*)/s)
  const known = Object.entries(flags)
  const long = known.find(([flag]) => given === `--${kebab(flag)}`)?.[0]
  const short = word.startsWith('--') ? undefined : known.find(([, one]) => one.shortFlag === word[1])
  const refuse = (): never => {
    throw new UsageError(`${given} is not an option of hexz ${name}; see hexz ${name} --help`)
  }
  if (long !== undefined) return nonEmpty({ name, flag: long, value })
  if (short === undefined) return refuse()
  const [flag, { type }] = short
  const joined = word.slice(2)
  if (joined === '' || joined.startsWith('=')) return nonEmpty({ name, flag, value })
  if (type === 'string') return { flag, value: joined }
  const isFlags = known.some(([, one]) => one.shortFlag === joined[0])
  return isFlags ? { flag, after: `-${joined}` } : refuse()
}

function nonEmpty({ name, flag, value }: FoundFlag & { readonly name: string }): FoundFlag {
  if (value === '') throw needsValue(name, flag)
  return { flag, value }
}

/** The next word, unless it is a flag. */
function takeValue({ name }: Command, flag: string, rest: string[]): string {
  const [value = ''] = rest
  if (value === '' || (value.startsWith('-') && value !== '-')) throw needsValue(name, flag)
  rest.shift()
  return value
}

function needsValue(name: string, flag: string): UsageError {
  return new UsageError(`--${kebab(flag)} needs a value; see hexz ${name} --help`)
}
