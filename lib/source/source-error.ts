import { errnoOf, LimitError, SourceError, systemLimit, type Remedy } from '../errors.js'

/** The system's error in our words. */
export function sourceError(error: unknown, name: string): SourceError | LimitError {
  if (error instanceof SourceError || error instanceof LimitError) return error
  const limit = systemLimit(error, `${name} can't be read: `, name)
  if (limit !== undefined) return limit
  const details = { where: name, cause: error }
  switch (errnoOf(error)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new SourceError('SOURCE_MISSING', `${name} does not exist`, details)
    case 'EISDIR':
      return new SourceError(
        'SOURCE_UNREADABLE',
        `${name} is a directory; a source is a file, a device or a pipe (for a folder: tar -c ${name} | hexz build -)`,
        details
      )
    case 'EACCES':
    case 'EPERM':
      return new SourceError('SOURCE_UNREADABLE', `${name} can't be read: permission denied`, details)
    default:
      return new SourceError(
        'SOURCE_UNREADABLE',
        `${name} can't be read: ${error instanceof Error ? error.message : String(error)}`,
        details
      )
  }
}

/** A pipe that ends before its first byte. */
export function noBytes(name: string, remedy?: Remedy): SourceError {
  const message = `${name} gave no bytes: what should have sent them may have failed`
  return new SourceError('SOURCE_EMPTY', message, {
    where: name,
    ...(remedy === undefined ? {} : { remedy })
  })
}

/** A file that ends before the end it had when it was opened. */
export function becameShorter(name: string, offset: number): SourceError {
  return new SourceError('SOURCE_CHANGED', `${name} became shorter while it was read`, {
    where: name,
    offset
  })
}
