/**
 * Every error a user can meet. Each has a stable `code` (listed in `docs/errors.md`), data fields for
 * programs, and a message that says what, where and what to do. Exit codes are mapped here and nowhere else.
 */

/** Code → exit code; the single list that documents and tests are held to. */
export const exitCodes = {
  USAGE: 2,
  SOURCE_MISSING: 3,
  SOURCE_UNREADABLE: 3,
  SOURCE_SHORT: 3,
  SOURCE_EMPTY: 3,
  SOURCE_FAILED: 3,
  SOURCE_CHANGED: 3,
  SOURCE_UNSUITABLE: 3,
  TARGET_EXISTS: 4,
  TARGET_IS_SOURCE: 4,
  TARGET_IN_USE: 4,
  TARGET_UNWRITABLE: 4,
  TARGET_FULL: 4,
  TARGET_CLOSED: 4,
  NOT_A_SNAPSHOT: 5,
  INCOMPLETE: 5,
  BAD_CHECKSUM: 5,
  BAD_DIGEST: 5,
  BAD_STRUCTURE: 5,
  BAD_SEAL: 5,
  KEY_MISSING: 6,
  KEY_WRONG: 6,
  KEY_UNUSABLE: 6,
  NOT_ENCRYPTED: 6,
  NEWER_VERSION: 7,
  UNKNOWN_FEATURE: 7,
  PROGRAM_MISSING: 7,
  NATIVE_MISSING: 7,
  LIMIT: 8,
  SYSTEM_LIMIT: 4
} as const

export type ErrorCode = keyof typeof exitCodes

/** Where the error was met and what was there; all optional, all safe to print. */
export interface ErrorDetails {
  /** File, stream or structure. */
  readonly where?: string
  /** Byte offset in `where`. */
  readonly offset?: number
  readonly expected?: string | number
  readonly found?: string | number
  readonly cause?: unknown
  /** The option of the library that allows what was refused. */
  readonly remedy?: Remedy
}

/** Ends a message: `option allowEmpty takes that as it is`. The command line puts its own name of the option there. */
export interface Remedy {
  readonly option: string
  readonly does: string
}

export class HexzError<Code extends ErrorCode = ErrorCode> extends Error {
  readonly code: Code
  readonly details: ErrorDetails
  /** The message without the remedy. */
  readonly summary: string

  constructor(code: Code, summary: string, details: ErrorDetails = {}) {
    const { cause, remedy } = details
    super(
      withRemedy(summary, remedy, (option) => `option ${option}`),
      cause === undefined ? {} : { cause }
    )
    this.name = new.target.name
    this.code = code
    this.details = details
    this.summary = summary
  }

  get exitCode(): number {
    return exitCodes[this.code]
  }
}

/** A summary and, where there is one, its remedy in somebody's words. */
export function withRemedy(
  summary: string,
  remedy: Remedy | undefined,
  nameOf: (option: string) => string
): string {
  return remedy === undefined ? summary : `${summary}; ${nameOf(remedy.option)} ${remedy.does}`
}

type CodeOf<Exit extends number> = {
  [C in ErrorCode]: (typeof exitCodes)[C] extends Exit ? C : never
}[ErrorCode]

/** A wrong flag or value; thrown before any input or output. */
export class UsageError extends HexzError<'USAGE'> {
  constructor(message: string, details?: ErrorDetails) {
    super('USAGE', message, details)
  }
}

/** The source can't be read, is short, changed while it was read, or does not serve the purpose. */
export class SourceError extends HexzError<CodeOf<3>> {}

/** The target can't be written. */
export class TargetError extends HexzError<CodeOf<4>> {}

/** The bytes of a snapshot are wrong. */
export class CorruptError extends HexzError<CodeOf<5>> {}

/** A passphrase or key is missing or wrong. */
export class KeyError extends HexzError<CodeOf<6>> {}

/** The snapshot was made by a newer version, uses a feature this one does not have, or a program or native package is missing. */
export class UnsupportedError extends HexzError<CodeOf<7>> {}

/** A maximum of `limits.ts` was met, or one that the system sets: of open files, threads or memory. */
export class LimitError extends HexzError<'LIMIT' | 'SYSTEM_LIMIT'> {
  constructor(message: string, details?: ErrorDetails, code: 'LIMIT' | 'SYSTEM_LIMIT' = 'LIMIT') {
    super(code, message, details)
  }
}

/** Whether it is one of ours; `instanceof` alone loses the type of the code. */
export function isHexzError(error: unknown): error is HexzError {
  return error instanceof HexzError
}

/** The errno name of a Node system error, or `undefined`. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

const limitWords = {
  files: 'too many files are open; raise the limit (ulimit -n)',
  threads:
    'no thread or process can be started; raise the limit (ulimit -u, or of the container), or lower --concurrency',
  memory:
    'the system gives no more memory; raise the limit (ulimit -v, or of the container), or lower --concurrency'
}

/**
 * A limit of the system, when an error or one of its causes says that one was met; else `undefined`.
 *
 * @param prefix of the message, such as `disk.img can't be read: `
 */
export function systemLimit(error: unknown, prefix = '', where?: string): LimitError | undefined {
  const kind = limitKind(error)
  if (kind === undefined) return undefined
  const details = { ...(where === undefined ? {} : { where }), cause: error }
  return new LimitError(`${prefix}${limitWords[kind]}`, details, 'SYSTEM_LIMIT')
}

function limitKind(error: unknown): keyof typeof limitWords | undefined {
  if (!(error instanceof Error)) return undefined
  const code = errnoOf(error) ?? ''
  const isSpawn = 'syscall' in error && String(error.syscall).startsWith('spawn')
  // A library that can't be loaded says why in words only.
  if (code === 'EMFILE' || code === 'ENFILE' || /too many open files/i.test(error.message)) return 'files'
  if (code === 'ERR_WORKER_INIT_FAILED' || (isSpawn && code === 'EAGAIN')) return 'threads'
  if (
    code === 'ENOMEM' ||
    /cannot allocate memory|failed to map segment|allocation failed/i.test(error.message)
  )
    return 'memory'
  return limitKind(error.cause)
}
