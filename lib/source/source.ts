import { constants, open as openCallback, read, type BigIntStats } from 'node:fs'
import { open, readFile, stat, statfs, type FileHandle } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { SourceError } from '../errors.js'
import { memoryLimits } from '../limits.js'
import { readBuffer } from '../memory.js'
import type { BatchSlabs } from '../workers/slabs.js'
import { pipeSource } from './pipe-source.js'
import { sourceError } from './source-error.js'

const openDescriptor = promisify(openCallback)
const readDescriptor = promisify(read)

export interface ReadOptions {
  readonly reuse: boolean
  readonly slabs?: BatchSlabs
  /** Bytes to leave free in front of what is read into a slab; default none. */
  readonly room?: number
}

/** Bytes that are read once, front to back. */
export interface Source {
  /** For messages. */
  readonly name: string
  /** Bytes, when known before reading: not for a pipe. */
  readonly size: number | undefined
  /**
   * The bytes, in pieces of up to 2 MiB. To be taken once.
   *
   * @param options.reuse a piece is only used until the next is asked for, so that its memory may be used again
   * @param options.slabs a whole piece may be the bytes of one of these, which is then the receiver's to release
   */
  read(options: ReadOptions): AsyncGenerator<Uint8Array, void>
  /**
   * Of a file or block device: fills `into` from an offset, before, while or after it is read; what lies behind
   * the end is left alone.
   */
  readonly readAt?: (offset: number, into: Uint8Array) => Promise<void>
  close(): Promise<void>
}

/**
 * Opens a file, a device or a pipe by path.
 *
 * @throws SourceError SOURCE_MISSING, SOURCE_UNREADABLE
 */
export async function openSource(path: string): Promise<Source> {
  const isPipe = await stat(path).then(
    (stats) => stats.isFIFO(),
    () => false // told by open()
  )
  if (isPipe) {
    const fd = await openDescriptor(path, constants.O_RDONLY).catch((error: unknown) => {
      throw sourceError(error, path)
    })
    return pipeSource(fd, path)
  }
  const handle = await open(path, constants.O_RDONLY).catch((error: unknown) => {
    throw sourceError(error, path)
  })
  try {
    const stats = await handle.stat({ bigint: true })
    if (stats.isDirectory()) throw sourceError(Object.assign(new Error(), { code: 'EISDIR' }), path)
    const isStored = stats.isFile() && !(await isGenerated(path))
    const size = isStored
      ? Number(stats.size)
      : stats.isBlockDevice()
        ? await deviceSize(stats.rdev)
        : undefined
    const source = handleSource(handle, path, isStored ? stats : undefined, size)
    return size === undefined ? source : { ...source, readAt: readerAt(handle, path) }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Magic numbers of statfs: proc, sysfs, debugfs, tracefs, securityfs, cgroup, cgroup2, configfs. */
const generatedTypes = [
  0x9fa0, 0x62656572, 0x64626720, 0x74726163, 0x73636673, 0x27e0eb, 0x63677270, 0x62656570
]

/** Whether a file is made up when it is read: its size and times say nothing, and the reading is the truth. */
async function isGenerated(path: string): Promise<boolean> {
  if (process.platform !== 'linux') return false
  return statfs(path).then(
    ({ type }) => generatedTypes.includes(type),
    () => false
  )
}

function readerAt(handle: FileHandle, name: string): (offset: number, into: Uint8Array) => Promise<void> {
  return async (offset, into) => {
    for (let filled = 0; filled < into.length;) {
      const { bytesRead } = await handle
        .read(into, filled, into.length - filled, offset + filled)
        .catch((error: unknown) => {
          throw sourceError(error, name)
        })
      if (bytesRead === 0) return
      filled += bytesRead
    }
  }
}

/** Any bytes that can be iterated, as a source. A stream is destroyed by `close`; any other iterable closes itself. */
export function iterableSource(bytes: AsyncIterable<Uint8Array | string>, name: string): Source {
  async function* read(): AsyncGenerator<Uint8Array, void> {
    try {
      for await (const piece of bytes as AsyncIterable<unknown>) yield toBytes(piece, name)
    } catch (error) {
      throw sourceError(error, name)
    }
  }
  function close(): Promise<void> {
    if (bytes instanceof Readable) bytes.destroy()
    return Promise.resolve()
  }
  return { name, size: undefined, read, close }
}

/** A descriptor that is open already and never blocks for long, such as a file on standard input; from where it stands. */
export function openDescriptorSource(fd: number, name: string): Source {
  return handleSource({ fd, close: () => Promise.resolve() }, name, undefined, undefined)
}

/** What is used of a FileHandle. */
interface ReadHandle {
  readonly fd: number
  stat?(options: { bigint: true }): Promise<BigIntStats>
  close(): Promise<void>
}

/** A stream in object mode may give anything; what is no bytes must not be passed over in silence. */
function toBytes(piece: unknown, name: string): Uint8Array {
  if (typeof piece === 'string') return Buffer.from(piece)
  if (piece instanceof Uint8Array) return piece
  throw new SourceError('SOURCE_UNREADABLE', `${name} gave something other than bytes: ${typeof piece}`, {
    where: name
  })
}

/** @param before of a regular file, which must still be the same when it has been read */
function handleSource(
  handle: ReadHandle,
  name: string,
  before: BigIntStats | undefined,
  size: number | undefined
): Source {
  let ahead: Promise<Uint8Array> | undefined
  const readInto = async (bytes: Uint8Array): Promise<Uint8Array> => {
    // It takes less of the main thread than a FileHandle's own `read`.
    const { bytesRead } = await readDescriptor(handle.fd, bytes, 0, bytes.length, null)
    return bytesRead === bytes.length ? bytes : bytes.subarray(0, bytesRead)
  }
  const readSlab = async (slabs: BatchSlabs, room?: number): Promise<Uint8Array> => {
    const { bytes, release } = slabs.acquire(memoryLimits.readSize, room)
    const piece = await readInto(bytes)
    if (piece === bytes) return piece
    const copy = new Uint8Array(piece)
    release()
    return copy
  }
  /** Reads the next piece into the memory that it may have. */
  const createReads = ({ reuse, slabs, room }: ReadOptions): (() => Promise<Uint8Array>) => {
    if (slabs !== undefined) return () => readSlab(slabs, room)
    const makeBuffer = (): Buffer => readBuffer(memoryLimits.readSize)
    if (!reuse) return () => readInto(makeBuffer())
    const buffers = [makeBuffer(), makeBuffer()]
    return () => {
      const buffer = buffers.shift() ?? makeBuffer()
      buffers.push(buffer)
      return readInto(buffer)
    }
  }
  async function* readPieces(options: ReadOptions): AsyncGenerator<Uint8Array, void> {
    const readNext = createReads(options)
    let total = 0
    ahead = readNext()
    for (;;) {
      const piece = await ahead.catch((error: unknown) => {
        throw sourceError(error, name)
      })
      if (piece.length === 0) break
      total += piece.length
      // A file that is appended to all the time would never end.
      if (before !== undefined && total > Number(before.size) && before.size !== 0n)
        throw changed(name, Number(before.size), total)
      ahead = readNext()
      ahead.catch(() => undefined) // met when its turn comes, or nobody asks any more
      yield piece
    }
    const after = await handle.stat?.({ bigint: true })
    if (before !== undefined && after !== undefined) checkUnchanged(after, before, total, name)
  }
  async function close(): Promise<void> {
    await ahead?.catch(() => undefined)
    await handle.close()
  }
  return { name, size, read: readPieces, close }
}

function checkUnchanged(after: BigIntStats, before: BigIntStats, total: number, name: string): void {
  const isSame = after.size === before.size && after.mtimeNs === before.mtimeNs && after.ino === before.ino
  // Files of /proc and the like say 0 and give bytes all the same: there the reading is the truth.
  if (!isSame || (before.size !== 0n && BigInt(total) !== before.size))
    throw changed(name, Number(before.size), total)
}

function changed(name: string, expected: number, found: number): SourceError {
  const message = `${name} changed while it was read: build from something that stands still, such as a filesystem snapshot`
  return new SourceError('SOURCE_CHANGED', message, { where: name, expected, found })
}

/**
 * Size of a block device; its own stat says 0. `undefined` where /sys does not tell.
 *
 * @param rdev of its stat: a device has many names (links, /dev/mapper, mknod), and one number
 */
export async function deviceSize(rdev: number | bigint): Promise<number | undefined> {
  const number = BigInt(rdev)
  const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xfffff000n)
  const minor = (number & 0xffn) | ((number >> 12n) & 0xffffff00n)
  const sectors = await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8').catch(() => '')
  return /^\d+\s*$/.test(sectors) ? Number(sectors) * 512 : undefined
}
