import { read } from 'node:fs'
import { open } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { orAborted } from '../abort.js'
import { wipe } from '../crypto/sealing.js'
import { errnoOf, isHexzError, LimitError, SourceError } from '../errors.js'
import { sourceError } from '../source/source-error.js'
import { descriptorIn } from './options.js'

/** The longest passphrase, in bytes: what a terminal takes for a line. */
export const passphraseSizeMax = 4096
/** The longest file of keys: certificates with their whole text take some ten kilobytes. */
const fileSizeMax = 1024 * 1024
/** A pipe in non-blocking mode says "again" while it is empty. */
const retryMs = 10

const readDescriptor = promisify(read)

/**
 * Reads a secret: the one place where any file or descriptor is read that holds a passphrase or a key.
 *
 * @param from a path, or the number of a descriptor that is open already
 * @param part the first line, without its end, after which nothing is read; or the whole
 * @throws SourceError; LimitError for a line of more than 4 KiB, a whole of more than 1 MiB; the reason of `signal`,
 * whatever the other side of a pipe does
 */
export async function readSecret(
  from: string | number,
  part: 'line' | 'whole',
  signal: AbortSignal
): Promise<Buffer> {
  const place = typeof from === 'string' ? (descriptorIn(from) ?? from) : from
  const name = place === 0 ? 'standard input' : typeof place === 'string' ? place : `file descriptor ${place}`
  const sizeMax = part === 'line' ? passphraseSizeMax : fileSizeMax
  const buffer = Buffer.alloc(sizeMax + 2) // a line end is not counted
  const isLine = part === 'line'
  try {
    if (typeof place === 'number') return await take(place)
    const handle = await orAborted(open(place), signal)
    try {
      return await take(handle.fd)
    } finally {
      handle.close().catch(() => undefined) // which waits for a read that is given up
    }
  } catch (error) {
    if (signal.aborted || isHexzError(error)) throw error
    if (errnoOf(error) === 'EISDIR')
      throw new SourceError('SOURCE_UNREADABLE', `${name} is a directory`, { where: name, cause: error })
    if (errnoOf(error) === 'EBADF')
      throw new SourceError('SOURCE_MISSING', `${name} is not open`, { where: name, cause: error })
    throw sourceError(error, name)
  } finally {
    wipe(buffer)
  }

  async function take(fd: number): Promise<Buffer> {
    let size = 0
    for (let isEnded = false; !isEnded;) {
      const count = await readSome(fd, buffer.subarray(size), signal)
      size += count
      isEnded = count === 0 || size === buffer.length || (isLine && buffer.includes('\n'))
    }
    const whole = buffer.subarray(0, size)
    const line = isLine ? firstLine(whole) : whole
    if (line.length > sizeMax)
      throw new LimitError(
        isLine
          ? `the passphrase in ${name} is longer than ${sizeMax} bytes`
          : `${name} is larger than ${sizeMax} bytes, which no file of keys is`,
        { where: name }
      )
    return Buffer.from(line)
  }
}

function firstLine(bytes: Buffer): Buffer {
  const end = bytes.indexOf('\n')
  if (end === -1) return bytes
  return bytes.subarray(0, bytes[end - 1] === 0x0d ? end - 1 : end)
}

async function readSome(fd: number, into: Buffer, signal: AbortSignal): Promise<number> {
  for (;;) {
    try {
      return (await orAborted(readDescriptor(fd, into, 0, into.length, null), signal)).bytesRead
    } catch (error) {
      if (errnoOf(error) !== 'EAGAIN') throw error
    }
    await delay(retryMs, undefined, { signal })
  }
}
