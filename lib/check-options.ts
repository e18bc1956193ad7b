import { isKeyObject } from 'node:util/types'
import { UsageError } from './errors.js'

/**
 * The one check of what programs hand to the library. TypeScript tells of a wrong name or type; plain JavaScript does
 * not, and an option that nobody knows, such as a misspelt `encrypt`, must not be passed over in silence.
 */

/** What an option may be. */
export interface Kind {
  /** In messages, such as `true or false`. */
  readonly what: string
  readonly holds: (value: unknown) => boolean
}

/** Options by name, and what each may be. */
export type OptionTable<Options extends object> = { readonly [Name in keyof Required<Options>]: Kind }

const kind = (what: string, holds: (value: unknown) => boolean): Kind => ({ what, holds })
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null
const hasFunctions = (value: unknown, names: readonly string[]): boolean =>
  isObject(value) && names.every((name) => typeof value[name] === 'function')

export const text = kind('a string', (value) => typeof value === 'string')
export const number = kind('a number', (value) => typeof value === 'number')
export const flag = kind('true or false', (value) => typeof value === 'boolean')
export const bytes = kind('a Uint8Array', (value) => value instanceof Uint8Array)
export const textOrBytes = kind(
  'a string or a Uint8Array',
  (value) => text.holds(value) || bytes.holds(value)
)
export const callback = kind('a function', (value) => typeof value === 'function')
export const object = kind('an object', isObject)
export const signal = kind('an AbortSignal', (value) =>
  hasFunctions(value, ['addEventListener', 'throwIfAborted'])
)
export const privateKey = keyOf('private', 'createPrivateKey')
export const publicKey = keyOf('public', 'createPublicKey')

function keyOf(type: 'private' | 'public', maker: string): Kind {
  const what = `a ${type} RSA KeyObject of node:crypto, as ${maker}() makes of PEM`
  return kind(what, (value) => isKeyObject(value) && value.type === type && value.asymmetricKeyType === 'rsa')
}

/** A whole number, of bytes or of things. */
export const count = (min: number): Kind =>
  kind(
    `a whole number of at least ${min}`,
    (value) => Number.isSafeInteger(value) && (value as number) >= min
  )

export const oneOf = (...words: readonly string[]): Kind =>
  kind(`one of ${words.join(', ')}`, (value) => words.includes(value as string))

export const listOf = (one: Kind): Kind =>
  kind(`a list, of which each is ${one.what}`, (value) => Array.isArray(value) && value.every(one.holds))

export const either = (one: Kind, other: Kind): Kind =>
  kind(`${one.what}, or ${other.what}`, (value) => one.holds(value) || other.holds(value))

/** An object with these functions. */
export const having = (what: string, ...functions: readonly string[]): Kind =>
  kind(what, (value) => hasFunctions(value, functions))

export const workerPool = having('a pool, as createWorkerPool() gives', 'run', 'close')
export const slabPool = having('a pool of slabs, as createSlabPool() gives', 'acquire')

/** Bytes themselves can be iterated, too, but give numbers. */
export const iterable = kind('an async iterable of bytes', (value) => {
  if (!isObject(value) || ArrayBuffer.isView(value)) return false
  const { [Symbol.asyncIterator]: iterator, [Symbol.iterator]: syncIterator } = value as Partial<
    AsyncIterable<unknown> & Iterable<unknown>
  >
  return typeof iterator === 'function' || typeof syncIterator === 'function'
})

/**
 * @param where names the function or the group of options, such as `build()`
 * @throws UsageError for an option that is not in the table, or a value that is not what it may be; one that is
 * `undefined` is as good as absent
 */
export function checkOptions<Options extends object>(
  where: string,
  options: unknown,
  table: OptionTable<Options>
): void {
  if (!isObject(options))
    throw new UsageError(`${where} takes an object of options, not ${describe(options)}`)
  for (const [name, value] of Object.entries(options)) {
    const known = Object.hasOwn(table, name) ? table[name as keyof Options] : undefined
    if (known === undefined)
      throw new UsageError(`${where} has no option "${name}"; it has ${Object.keys(table).join(', ')}`)
    if (value !== undefined) checkValue(`option ${name} of ${where}`, value, known)
  }
}

/** @throws UsageError */
export function checkValue(where: string, value: unknown, { what, holds }: Kind): void {
  if (!holds(value)) throw new UsageError(`${where} is ${what}, not ${describe(value)}`)
}

/** A value for a message: never its text where it may be a secret. */
function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return String(value)
  if (typeof value === 'string') return 'a string'
  if (typeof value === 'function') return 'a function'
  const { name } = (value.constructor as { name?: string } | undefined) ?? {}
  return name === undefined || name === '' || name === 'Object' ? 'another object' : `one of ${name}`
}
