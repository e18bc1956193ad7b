import { writev, writevSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { errnoOf, LimitError, systemLimit, TargetError } from '../errors.js'

/** Linux takes at most 1024 buffers in one writev. */
const piecesPerCall = 1024
/** A pipe in non-blocking mode says "again" while it is full; asking this often costs nothing beside the wait. */
const retryDelayMs = 2

/**
 * Writes all pieces, in order, however little the kernel takes at a time.
 *
 * @param name of the target, for errors
 * @param position in the file; omitted: where the descriptor stands
 * @throws TargetError TARGET_FULL, TARGET_CLOSED, TARGET_UNWRITABLE
 */
export async function writeAll(
  fd: number,
  pieces: readonly Uint8Array[],
  name: string,
  position?: number
): Promise<void> {
  let at = position ?? null
  let rest = pieces.filter((piece) => piece.length > 0)
  while (rest.length > 0) {
    const size = await writeSome(fd, rest.slice(0, piecesPerCall), at, name)
    if (at !== null) at += size
    rest = skip(rest, size)
  }
}

/**
 * The same for a worker thread, which has nothing else to do meanwhile; to a file or device.
 *
 * @throws TargetError
 */
export function writeAllSync(
  fd: number,
  pieces: readonly Uint8Array[],
  name: string,
  position: number
): void {
  let at = position
  let rest = pieces.filter((piece) => piece.length > 0)
  try {
    while (rest.length > 0) {
      const size = writevSync(fd, rest.slice(0, piecesPerCall), at)
      at += size
      rest = skip(rest, size)
    }
  } catch (error) {
    throw targetError(error, name)
  }
}

async function writeSome(
  fd: number,
  pieces: readonly Uint8Array[],
  position: number | null,
  name: string
): Promise<number> {
  for (;;) {
    try {
      return await new Promise<number>((resolve, reject) => {
        writev(fd, pieces, position, (error, size) => {
          if (error === null) resolve(size)
          else reject(error)
        })
      })
    } catch (error) {
      if (errnoOf(error) !== 'EAGAIN') throw targetError(error, name)
    }
    await delay(retryDelayMs)
  }
}

function skip(pieces: readonly Uint8Array[], size: number): Uint8Array[] {
  let index = 0
  let left = size
  for (let piece = pieces[0]; piece !== undefined && piece.length <= left; piece = pieces[++index])
    left -= piece.length
  return pieces.slice(index).map((piece, i) => (i === 0 ? piece.subarray(left) : piece))
}

/** The system's error in our words. */
export function targetError(error: unknown, name: string): TargetError | LimitError {
  if (error instanceof TargetError || error instanceof LimitError) return error
  const limit = systemLimit(error, `${name} can't be written: `, name)
  if (limit !== undefined) return limit
  const cause = { where: name, cause: error }
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new TargetError('TARGET_FULL', `${name} can't be written: no space is left there`, cause)
    case 'EPIPE':
    case 'ECONNRESET':
    case 'ERR_STREAM_PREMATURE_CLOSE':
      return new TargetError(
        'TARGET_CLOSED',
        `${name} was closed by its reader before everything was written`,
        cause
      )
    case 'ENOENT':
    case 'ENOTDIR':
      return new TargetError(
        'TARGET_UNWRITABLE',
        `${name} can't be written: its folder does not exist`,
        cause
      )
    case 'EISDIR':
      return new TargetError('TARGET_UNWRITABLE', `${name} can't be written: it is a directory`, cause)
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new TargetError('TARGET_UNWRITABLE', `${name} can't be written: permission denied`, cause)
    default:
      return new TargetError(
        'TARGET_UNWRITABLE',
        `${name} can't be written: ${error instanceof Error ? error.message : String(error)}`,
        cause
      )
  }
}
