import { isatty } from 'node:tty'
import { UsageError } from '../errors.js'
import { memoryLimits } from '../limits.js'
import { descriptorOf } from '../source/descriptor.js'
import { openDescriptorSource, openSource } from '../source/file-source.js'
import type { Source } from '../source/source.js'
import type { Arguments } from './command.js'

/** What SIZE means, for the help of a command that takes one. */
export const sizeNote =
  'SIZE is in bytes, or a number with K, M, G or T, such as 64K, 1MiB or 1.5G; KB, MB and GB count in thousands.'

/** Multipliers as dd and coreutils have them: K, Ki and KiB are 1024, KB is 1000. */
const units = new Map<string, number>(
  ['k', 'm', 'g', 't', 'p'].flatMap((letter, i) => [
    [letter, 1024 ** (i + 1)],
    [`${letter}i`, 1024 ** (i + 1)],
    [`${letter}ib`, 1024 ** (i + 1)],
    [`${letter}b`, 1000 ** (i + 1)]
  ])
)

/**
 * A size such as `4096`, `64K`, `1MiB`, `1.5G` or `10MB`, in bytes.
 *
 * @throws UsageError
 */
export function parseSize(text: string, name: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text)
  const unit = match?.[2]?.toLowerCase() ?? ''
  const factor = unit === '' || unit === 'b' ? 1 : units.get(unit)
  const size = Number(match?.[1]) * (factor ?? Number.NaN)
  if (!Number.isSafeInteger(size))
    throw new UsageError(
      `${name} ${text} is not a size; write bytes, or a number with K, M, G or T, such as 64K or 1MiB`
    )
  return size
}

/** @throws UsageError unless the text is a whole number in the range */
export function parseCount(text: string, name: string, min: number, max: number): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(count >= min && count <= max))
    throw new UsageError(`${name} ${text} is not a whole number from ${min} to ${max}`)
  return count
}

/** A flag's text, or `undefined`. */
export function textFlag({ flags }: Arguments, name: string): string | undefined {
  const value = flags[name]
  return typeof value === 'string' ? value : undefined
}

/** The texts of a flag that may be given more than once. */
export function textFlags({ flags }: Arguments, name: string): readonly string[] {
  const value = flags[name]
  return Array.isArray(value) ? (value as readonly string[]) : []
}

/** An option object with the key only when the flag was given: `exactOptionalPropertyTypes` tells the two apart. */
export function sizeOption<Key extends string>(
  args: Arguments,
  flag: string,
  key: Key
): Partial<Record<Key, number>> {
  const text = textFlag(args, flag)
  const name = `--${flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
  return text === undefined ? {} : ({ [key]: parseSize(text, name) } as Record<Key, number>)
}

/** @param min 0 where the work can be done without threads */
export function concurrencyOption(args: Arguments, min: 0 | 1 = 1): { concurrency?: number } {
  const text = textFlag(args, 'concurrency')
  return text === undefined
    ? {}
    : { concurrency: parseCount(text, '--concurrency', min, memoryLimits.workerCountMax) }
}

/** The open descriptor that a word names: `-` is standard input, `/dev/fd/3` is 3. `undefined` for a path. */
export function descriptorIn(word: string): number | undefined {
  return word === '-' ? 0 : descriptorOf(word)
}

/** Whether a word is a URL of whatever kind; a file of such a name can be given as `./http://…`. */
export const isUrl = (word: string): boolean => /^[a-z][a-z0-9+.-]+:\/\//i.test(word)

/** Opens a path, or takes a descriptor that is open. @throws UsageError for a terminal; SourceError */
export async function openInput(path: string): Promise<Source> {
  if (isUrl(path))
    throw new UsageError("a URL is no source; let another program fetch it: --from-command 'curl -fsS URL'")
  const fd = descriptorIn(path)
  if (fd === undefined) return openSource(path)
  const name = fd === 0 ? 'standard input' : path
  if (isatty(fd)) throw new UsageError(`${name} is a terminal; pipe something into hexz or name a file`)
  return openDescriptorSource(fd, name)
}
