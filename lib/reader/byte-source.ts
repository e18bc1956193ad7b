import { constants, fstatSync, read, readSync, type Stats } from 'node:fs'
import { open, unlink, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import { SourceError } from '../errors.js'
import { positionOf } from '../source/descriptor.js'
import { becameShorter, sourceError } from '../source/source-error.js'
import type { Source } from '../source/source.js'
import { targetError, writeAll } from '../target/write-all.js'

/** Bytes that can be read at any offset: what a snapshot is opened from. */
export interface ByteSource {
  /** For messages. */
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Of a file: its descriptor, for worker threads to read from. */
  readonly fd?: number
  /** Of a URL: what was fetched so far. */
  readonly fetched?: { readonly size: number; readonly requestCount: number }
  /**
   * Exactly `size` bytes from `offset`; the range lies inside the source.
   *
   * @param into memory of `size` bytes; when given, the bytes must be put there, and it is the answer
   * @throws SourceError SOURCE_UNREADABLE, SOURCE_CHANGED when the source has become shorter
   */
  read(offset: number, size: number, into?: Uint8Array): Promise<Uint8Array>
  close(): Promise<void>
}

/** Fills `into`, whether or not the source made use of it for its answer. */
export async function readInto(source: ByteSource, offset: number, into: Uint8Array): Promise<void> {
  const found = await source.read(offset, into.length, into)
  if (found !== into) into.set(found)
}

/** @throws SourceError SOURCE_MISSING, SOURCE_UNREADABLE */
export async function openFileBytes(path: string): Promise<ByteSource> {
  const handle = await open(path, constants.O_RDONLY).catch((error: unknown) => {
    throw sourceError(error, path)
  })
  const stats = await handle.stat().catch(async (error: unknown) => {
    await closeQuietly(handle)
    throw sourceError(error, path)
  })
  if (stats.isFile()) return descriptorBytes(handle.fd, path, stats.size, () => closeQuietly(handle))
  await closeQuietly(handle)
  if (stats.isDirectory())
    throw new SourceError('SOURCE_UNREADABLE', `${path} is a directory, not a snapshot`, { where: path })
  throw new SourceError(
    'SOURCE_UNREADABLE',
    `${path} is not a regular file; give a snapshot that comes through a pipe as -`,
    { where: path }
  )
}

/** Of a file that was only read, or that is gone when it is closed: a failure says nothing about any bytes. */
const closeQuietly = (handle: FileHandle): Promise<void> => handle.close().catch(() => undefined)

/**
 * Copies a source that can't be read at any offset into a temporary file without a name, which the system
 * frees when it is closed, even by a kill. Takes as much disk space as the source is large.
 *
 * @param folder where the temporary file is made
 */
export async function spool(source: Source, folder: string = tmpdir()): Promise<ByteSource> {
  const path = join(folder, `.hexz-${randomUUID()}.spool`)
  const handle = await open(path, 'wx+', 0o600).catch((error: unknown) => {
    throw targetError(error, path)
  })
  try {
    await unlink(path).catch((error: unknown) => {
      throw targetError(error, path)
    })
    let size = 0
    for await (const piece of source.read({ reuse: true })) {
      await writeAll(handle.fd, [piece], `the temporary file in ${folder}`, size)
      size += piece.length
    }
    return descriptorBytes(handle.fd, source.name, size, () => closeQuietly(handle))
  } catch (error) {
    await closeQuietly(handle)
    throw error
  } finally {
    await source.close()
  }
}

/**
 * A file that is open already and stands at its first byte, as a shell's `< FILE` leaves it. It is not closed.
 *
 * @returns `undefined` for anything else, which has to be read front to back
 */
export function openDescriptorBytes(fd: number, name: string): ByteSource | undefined {
  const stats = statOpen(fd, name)
  if (!stats.isFile() || positionOf(fd) !== 0) return undefined
  return descriptorBytes(fd, name, stats.size, () => Promise.resolve())
}

function statOpen(fd: number, name: string): Stats {
  try {
    return fstatSync(fd)
  } catch (error) {
    throw sourceError(error, name)
  }
}

const readThere = promisify(read)

export function descriptorBytes(
  fd: number,
  name: string,
  size: number,
  close: () => Promise<void>
): ByteSource {
  const readHere = createReadHere(fd)
  return {
    name,
    size,
    fd,
    async read(offset, length, into = new Uint8Array(length)) {
      try {
        let filled = readHere(into.subarray(0, length), offset)
        while (filled < length) {
          const { bytesRead } = await readThere(fd, into, filled, length - filled, offset + filled)
          if (bytesRead === 0) throw becameShorter(name, offset)
          filled += bytesRead
        }
      } catch (error) {
        throw sourceError(error, name)
      }
      return into
    },
    close
  }
}

/** A read of up to this size is tried on the calling thread, unless one of the last took longer than this. */
const hereSizeMax = 128 * 1024
const hereMsMax = 1
/** So many reads go another way then. */
const sparedCount = 16

/**
 * Reads what the system has in memory. That takes a tenth of the time that it takes to let another thread do
 * it; but a disk that has to be asked would keep everything else waiting, so one slow read is enough for a while.
 *
 * @returns bytes that were read, 0 when it did not try
 */
function createReadHere(fd: number): (into: Uint8Array, offset: number) => number {
  let spared = 0
  return (into, offset) => {
    if (into.length > hereSizeMax || spared-- > 0) return 0
    const start = performance.now()
    const size = readSync(fd, into, 0, into.length, offset)
    spared = performance.now() - start > hereMsMax ? sparedCount : 0
    return size
  }
}
