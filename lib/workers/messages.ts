import * as errors from '../errors.js'
import { HexzError, exitCodes, isHexzError, type ErrorCode, type ErrorDetails } from '../errors.js'

/** What a worker thread gets and gives. Errors cross as plain data, since a class does not survive the copy. */
export interface Request {
  readonly id: number
  readonly name: string
  readonly args: unknown
}

/** What a thread is started with. */
export interface WorkerSettings {
  readonly collects: boolean
}

export interface PlainError {
  readonly className: string
  readonly message: string
  readonly stack?: string | undefined
  readonly code?: string | undefined
  readonly details?: ErrorDetails | undefined
}

export type Reply = { readonly id: number; readonly elapsedMs: number } & (
  { readonly result: unknown } | { readonly error: PlainError }
)

export function flattenError(error: unknown): PlainError {
  if (!(error instanceof Error)) return { className: 'Error', message: String(error) }
  const plain: PlainError = { className: error.constructor.name, message: error.message, stack: error.stack }
  if (!isHexzError(error)) return plain
  return {
    ...plain,
    message: error.summary,
    code: error.code,
    details: { ...error.details, cause: undefined }
  }
}

/** The error again, of its class where it is one of ours. */
export function reviveError(plain: PlainError): Error {
  if (plain.code === undefined || !(plain.code in exitCodes)) {
    const error = new Error(plain.message)
    if (plain.stack !== undefined) error.stack = plain.stack
    return error
  }
  const error = new HexzError(plain.code as ErrorCode, plain.message, plain.details)
  const known = (errors as Record<string, unknown>)[plain.className]
  if (typeof known === 'function') Object.setPrototypeOf(error, known.prototype as object)
  error.name = plain.className
  return error
}
