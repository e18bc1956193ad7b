import meow from 'meow'
import { UsageError } from '../errors.js'
import { helpOf, kebab, type Arguments, type Command } from './command.js'

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
