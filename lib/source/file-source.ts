import { constants, fstat, open as openCallback, read, type BigIntStats } from 'node:fs'
import { open, readFile, stat, statfs } from 'node:fs/promises'
import { promisify } from 'node:util'
import { SourceError } from '../errors.js'
import { memoryLimits } from '../limits.js'
import { readBuffer } from '../memory.js'
import type { BatchSlabs } from '../workers/slabs.js'
import { positionOf } from './descriptor.js'
import { pipeSource } from './pipe-source.js'
import { sourceError } from './source-error.js'
import type { ReadOptions, Source } from './source.js'

const openDescriptor = promisify(openCallback)
const readDescriptor = promisify(read)
const statDescriptor = promisify(fstat) as (fd: number, options: { bigint: true }) => Promise<BigIntStats>

/**
 * Opens a file, a device or a pipe by path.
 *
 * @throws SourceError SOURCE_MISSING, SOURCE_UNREADABLE
 */
export async function openSource(path: string): Promise<Source> {
  const inWords = (error: unknown): never => {
    throw sourceError(error, path)
  }
  const isPipe = await stat(path).then(
    (stats) => stats.isFIFO(),
    () => false // told by open()
  )
  if (isPipe) return pipeSource(await openDescriptor(path, constants.O_RDONLY).catch(inWords), path)
  const handle = await open(path, constants.O_RDONLY).catch(inWords)
  const { fd } = handle
  const close = (): Promise<void> => handle.close()
  try {
    const stats = await handle.stat({ bigint: true })
    const size = await sizeOf(stats, path, path)
    return handleSource({ fd, name: path, stats, size, start: 0, close })
  } catch (error) {
    await close().catch(() => undefined)
    throw sourceError(error, path)
  }
}

/**
 * A descriptor that is open already, such as standard input, from where it stands. A file or block device is not
 * closed; of a pipe `close` closes the descriptor.
 *
 * @throws SourceError SOURCE_UNREADABLE
 */
export async function openDescriptorSource(fd: number, name: string): Promise<Source> {
  const stats = await statDescriptor(fd, { bigint: true }).catch((error: unknown) => {
    throw sourceError(error, name)
  })
  if (stats.isFIFO() || stats.isSocket()) return pipeSource(fd, name)
  const whole = await sizeOf(stats, name, `/proc/self/fd/${fd}`)
  const start = whole === undefined ? undefined : positionOf(fd)
  const size = whole === undefined || start === undefined ? undefined : Math.max(0, whole - start)
  return handleSource({ fd, name, stats, size, start, close: () => Promise.resolve() })
}

/** Bytes of a file or block device; `undefined` where only reading tells. @throws SourceError for a directory */
async function sizeOf(stats: BigIntStats, name: string, path: string): Promise<number | undefined> {
  if (stats.isDirectory()) throw sourceError(Object.assign(new Error(), { code: 'EISDIR' }), name)
  if (stats.isFile()) return (await isGenerated(path)) ? undefined : Number(stats.size)
  return stats.isBlockDevice() ? deviceSize(stats.rdev) : undefined
}

/** What is open, and what it was like when it was opened. */
interface OpenFile {
  readonly fd: number
  readonly name: string
  readonly stats: BigIntStats
  /** Bytes from `start` on; `undefined` where nothing tells. */
  readonly size: number | undefined
  /** Where in the file the source begins. */
  readonly start: number | undefined
  readonly close: () => Promise<void>
}

function handleSource(file: OpenFile): Source {
  const { fd, name, stats: before, size, start } = file
  const isFile = before.isFile() && size !== undefined
  let ahead: Promise<Uint8Array> | undefined
  const readInto = async (bytes: Uint8Array): Promise<Uint8Array> => {
    // It takes less of the main thread than a FileHandle's own `read`.
    const { bytesRead } = await readDescriptor(fd, bytes, 0, bytes.length, null)
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
      if (isFile && total > size && before.size !== 0n) throw changed(name, size, total)
      ahead = readNext()
      ahead.catch(() => undefined) // met when its turn comes, or nobody asks any more
      yield piece
    }
    if (!isFile) return
    const after = await statDescriptor(fd, { bigint: true }).catch((error: unknown) => {
      throw sourceError(error, name)
    })
    checkUnchanged(after, file, total)
  }
  async function close(): Promise<void> {
    await ahead?.catch(() => undefined)
    await file.close().catch(() => undefined) // it was only read
  }
  const isPipe = !before.isFile() && !before.isBlockDevice()
  const source = { name, size, isPipe, isFile, read: readPieces, close }
  return size === undefined || start === undefined
    ? source
    : { ...source, readAt: (offset, into) => readFrom(file, start + offset, into) }
}

/** Fills `into`; what lies behind the end is left alone. */
async function readFrom({ fd, name }: OpenFile, offset: number, into: Uint8Array): Promise<void> {
  for (let filled = 0; filled < into.length;) {
    const { bytesRead } = await readDescriptor(fd, into, filled, into.length - filled, offset + filled).catch(
      (error: unknown) => {
        throw sourceError(error, name)
      }
    )
    if (bytesRead === 0) return
    filled += bytesRead
  }
}

function checkUnchanged(after: BigIntStats, { stats: before, size, name }: OpenFile, total: number): void {
  const isSame = after.size === before.size && after.mtimeNs === before.mtimeNs && after.ino === before.ino
  // Files of /proc and the like say 0 and give bytes all the same: there the reading is the truth.
  const isWhole = before.size === 0n || size === undefined || total === size
  if (!isSame || !isWhole) throw changed(name, size ?? Number(before.size), total)
}

function changed(name: string, expected: number, found: number): SourceError {
  const message = `${name} changed while it was read: build from something that stands still, such as a filesystem snapshot`
  return new SourceError('SOURCE_CHANGED', message, { where: name, expected, found })
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
