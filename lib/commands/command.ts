/** What a word of the line or the value of a flag names: something to read, the target, or neither. */
export type Role = 'input' | 'target' | 'other'

/** A place on the line that a word fills, unless its flag does. */
export interface Place {
  readonly role: Role
  /** For messages, such as `the source`. */
  readonly name: string
  readonly flag?: string
  /** A flag that gives it in another way: then no word fills the place. */
  readonly instead?: string
}

/** One flag as help and parser need it. */
export interface Flag {
  readonly type: 'string' | 'boolean'
  readonly shortFlag?: string
  /** May be given more than once. */
  readonly isMultiple?: boolean
  /** Shown in the help; `VALUE` is what stands for the value. */
  readonly value?: string
  /** The value is a path, or `-`, to be held against all others; `descriptor`: the number of one that is open. */
  readonly names?: Role | 'descriptor'
  /** Values that are words of their own, not paths. */
  readonly words?: readonly string[]
  readonly help: string
}

export type Flags = Readonly<Record<string, Flag>>

/** A parsed command line. Flags keep their text; `options.ts` makes numbers and sizes of it. */
export interface Arguments {
  readonly input: readonly string[]
  /** What fills each place of the command, in order. */
  readonly places: readonly (string | undefined)[]
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
  /** What the words are, in order. `inputs`: each is one, however many they are. */
  readonly places: readonly Place[] | 'inputs'
  /** Free text under the flags. */
  readonly notes?: string
  run(args: Arguments, context: CommandContext): Promise<void>
}

/** A flag's name as it is written on the command line. */
export const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

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
