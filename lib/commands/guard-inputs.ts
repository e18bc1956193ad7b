import { fstatSync, type Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { UsageError } from '../errors.js'
import { isHttpUrl } from '../reader/http-url.js'
import { isSame, refuseSources } from '../target/identity.js'
import { kebab, type Arguments, type Command } from './command.js'
import { descriptorIn } from './options.js'

/** Something that a run reads or writes, by path or by an open descriptor. */
interface Named {
  /** For messages, such as `the source` or `--memory`. */
  readonly name: string
  readonly at: string | number
}

/**
 * Holds all inputs of a run against each other and against its target, by whatever name, link or descriptor they come.
 * What can be read once only, a pipe or an open descriptor, is one input: the second to read it would find it empty, or
 * take bytes from the first.
 *
 * @throws UsageError for two inputs that are one; TargetError TARGET_IS_SOURCE
 */
export async function guardInputs(command: Command, args: Arguments): Promise<void> {
  const inputs = inputsOf(command, args)
  const seen: (Named & { readonly stats: Stats })[] = []
  for (const input of inputs) {
    const stats = await statIfThere(input.at)
    if (stats === undefined) continue
    const other = seen.find((one) => isSame(one.stats, stats) && isReadOnce(one, input, stats))
    if (other !== undefined) throw readTwice(other, input)
    seen.push({ ...input, stats })
  }
  const [target] = namedBy(command, args, 'target')
  if (target === undefined) return
  const at = target.at === 0 ? 1 : target.at // `-` is standard output there
  await refuseSources(
    at,
    inputs.map((input) => input.at)
  )
}

/** What a run reads: paths, and descriptors by number. */
export function inputsOf(command: Command, args: Arguments): Named[] {
  return namedBy(command, args, 'input')
}

/** Values of places and flags in a role, without URLs. */
function namedBy({ places, flags }: Command, args: Arguments, role: 'input' | 'target'): Named[] {
  const found: Named[] = []
  const add = (name: string, text: string): void => {
    if (!isHttpUrl(text)) found.push({ name, at: descriptorIn(text) ?? text })
  }
  for (const [i, text] of args.places.entries()) {
    const place = places === 'inputs' ? { role: 'input', name: `source ${i + 1}` } : places[i]
    if (place?.role === role && text !== undefined) add(place.name, text)
  }
  for (const [flag, { names, words = [] }] of Object.entries(flags)) {
    const given = args.flags[flag]
    if (given === undefined || typeof given === 'boolean') continue
    for (const text of [given].flat()) {
      if (names === role && !words.includes(text)) add(`--${kebab(flag)}`, text)
      // `/dev/fd/N` is that descriptor.
      if (names === 'descriptor' && role === 'input') add(`--${kebab(flag)}`, `/dev/fd/${text}`)
    }
  }
  return found
}

async function statIfThere(at: string | number): Promise<Stats | undefined> {
  try {
    return typeof at === 'number' ? fstatSync(at) : await stat(at)
  } catch {
    return undefined // told by whoever opens it
  }
}

function isReadOnce(one: Named, other: Named, stats: Stats): boolean {
  const isShared = typeof one.at === 'number' && typeof other.at === 'number' // they have one position
  const isDevice = stats.isCharacterDevice() && !isShared
  return isShared || (!stats.isFile() && !stats.isBlockDevice() && !isDevice)
}

function readTwice(one: Named, other: Named): UsageError {
  const what = [one.at, other.at].includes(0)
    ? 'standard input'
    : typeof other.at === 'number'
      ? `file descriptor ${other.at}`
      : other.at
  return new UsageError(
    `${one.name} and ${other.name} are both ${what}, which can be read only once; give one of them another way`
  )
}
