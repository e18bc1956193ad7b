import { constants, type Stats } from 'node:fs'
import { lstat, open, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errnoOf, TargetError } from '../errors.js'
import { deviceSize } from '../source/file-source.js'
import { claimDevice, openDevice, refuseDevice, type TargetContent } from './device.js'
import { createEarlyFlush, type EarlyFlush } from './early-flush.js'
import { exists, isSame, nameOf, refuseSources, statIfThere } from './identity.js'
import { groupIn, modeLike, openFolder, partialPath, syncFolder, takeOver } from './partial.js'
import { forgetUnfinished, rememberUnfinished } from './leftovers.js'
import { targetError, writeAll } from './write-all.js'

/** Where bytes go. Nothing looks finished before `commit`; `discard` leaves what was there before. */
export interface Target {
  /** For messages. */
  readonly name: string
  /** A write may take until a reader comes, and nothing waits for it when the pipeline is torn down. */
  readonly isBlocking?: boolean
  /** Writes pieces behind what was written before. */
  write(pieces: readonly Uint8Array[]): Promise<void>
  commit(): Promise<void>
  /** Safe to call after `commit`, and twice: the second call waits for what the first does. */
  discard(): Promise<void>
}

/** A target opened by path. */
export interface FileTarget extends Target {
  /** Whether `writeAt` works: a file or a block device, not a pipe. */
  readonly isSeekable: boolean
  /** Whether what is not written reads back as zeros: true for a fresh file, false for a device. */
  readonly isBlank: boolean
  /** Of a block device: bytes that it has, when the system tells. */
  readonly capacity?: number | undefined
  writeAt(offset: number, piece: Uint8Array): Promise<void>
  /** For threads that write themselves, at any offset. */
  readonly fd: number
  /** To be told how much they wrote, so that it is made durable meanwhile. */
  wrote(size: number): void
  /** Sets the final size; what was never written is a hole. */
  setSize(size: number): Promise<void>
}

export interface FileTargetOptions {
  /** Replace an existing target. Default false. */
  readonly force?: boolean
  /** Write to a block device although it is mounted or otherwise in use. Default false. */
  readonly forceInUse?: boolean
  /** What is written: only bytes of a stream, the default, may go to a block device. */
  readonly content?: TargetContent
  /**
   * What is read in the same run, by path or descriptor: the target may be none of it, by any name, and who may not
   * read it may not read a new target.
   */
  readonly sources?: readonly (string | number)[]
}

/**
 * Whether a target could be opened, as far as that can be told without touching anything.
 *
 * @param path or an open descriptor, such as standard output
 * @throws TargetError TARGET_EXISTS, TARGET_IS_SOURCE, TARGET_IN_USE, TARGET_UNWRITABLE
 */
export async function checkTarget(
  path: string | number,
  { force = false, forceInUse = false, content = 'bytes', sources = [] }: FileTargetOptions = {}
): Promise<Stats | undefined> {
  const existing = await statIfThere(path)
  if (existing?.isDirectory() === true)
    throw targetError(Object.assign(new Error(), { code: 'EISDIR' }), nameOf(path))
  await refuseSources(path, sources)
  refuseDevice(existing, nameOf(path), content)
  const isWritten = force || typeof path === 'number'
  if (existing?.isBlockDevice() === true && isWritten)
    await (await claimDevice(path, nameOf(path), forceInUse))?.close()
  if (typeof path === 'number') return existing
  if (existing === undefined) {
    const folder = await stat(dirname(path)).catch((error: unknown) => {
      throw targetError(error, path)
    })
    if (!folder.isDirectory()) throw targetError(Object.assign(new Error(), { code: 'ENOTDIR' }), path)
    if ((await lstat(path).catch(() => undefined)) !== undefined && !force)
      throw exists(path, `${path} is a link to a file that is not there`, 'replaces the link')
  }
  const isCharacters = existing?.isFIFO() === true || existing?.isCharacterDevice() === true
  if (existing !== undefined && !force && !isCharacters)
    throw exists(path, `${path} exists already`, 'replaces it')
  return existing
}

/**
 * Opens a target by path. A regular file is written beside its name as `.partial` and renamed by `commit`;
 * a device, a pipe or a socket is written in place.
 *
 * @throws TargetError TARGET_EXISTS, TARGET_IS_SOURCE, TARGET_IN_USE, TARGET_UNWRITABLE
 */
export async function openTarget(path: string, options: FileTargetOptions = {}): Promise<FileTarget> {
  const existing = await checkTarget(path, options)
  if (existing !== undefined && !existing.isFile()) return openInPlace(path, existing, options)
  // Renaming onto a link would replace the link, not the file it names.
  return openPartial(path, existing === undefined ? path : await realpath(path), existing, options)
}

/** @param old the file that is replaced: what was private stays so */
async function openPartial(
  name: string,
  path: string,
  old: Stats | undefined,
  { force = false, sources = [] }: FileTargetOptions
): Promise<FileTarget> {
  const partial = partialPath(path)
  const folder = dirname(path)
  await refuseSources(partial, sources)
  // Never the same file twice: should its writer be alive still, it would spoil ours.
  if (force)
    await rm(partial, { force: true }).catch((error: unknown) => {
      throw targetError(error, partial)
    })
  const group = await groupIn(folder).catch((error: unknown) => {
    throw targetError(error, name)
  })
  const newMode = modeLike(await Promise.all(sources.map(statIfThere)), group)
  // Private from the start: who has it open before its mode is narrowed reads all that is written later.
  const handle = await open(partial, 'wx+', old === undefined ? newMode : 0o600).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw targetError(error, name)
    throw exists(partial, `${partial} exists: another hexz is writing it, or one was killed`, 'removes it')
  })
  const prepare = async (): Promise<Stats> => {
    const stats = await handle.stat()
    rememberUnfinished(partial, stats)
    if (old !== undefined) await takeOver(handle, old)
    else if (stats.gid !== group) await handle.chmod(stats.mode & 0o707).catch(() => undefined)
    return stats
  }
  const own = await prepare().catch(async (error: unknown) => {
    await rm(partial, { force: true }).catch(() => undefined)
    await handle.close().catch(() => undefined)
    throw targetError(error, name)
  })
  const isOwn = async (): Promise<boolean> => isSame(own, await statIfThere(partial))
  const early = createEarlyFlush(handle)
  const flush = async (): Promise<void> => {
    await early.end()
    await handle.sync()
    if (!(await isOwn()))
      throw exists(partial, `${partial} was taken over by another hexz, which will make ${name}`)
    await handle.close()
  }
  const publish = async (): Promise<void> => {
    const opened = await openFolder(folder, name)
    try {
      await (force ? rename(partial, path) : renameNew(partial, path))
      forgetUnfinished(partial)
      await syncFolder(opened, name)
    } finally {
      await opened?.close().catch(() => undefined) // the sync has told all there is to tell
    }
  }
  const undo = async (): Promise<void> => {
    if (await isOwn()) await rm(partial, { force: true })
    forgetUnfinished(partial)
  }
  return fileTarget({ name, handle, isBlank: true, isSeekable: true, early, flush, publish, undo })
}

/** Renames, unless somebody made the target in the meantime. */
async function renameNew(from: string, to: string): Promise<void> {
  if ((await statIfThere(to)) !== undefined)
    throw exists(to, `${to} was created by another program in the meantime`, 'replaces it')
  await rename(from, to)
}

async function openInPlace(
  path: string,
  existing: Stats,
  { forceInUse = false }: FileTargetOptions
): Promise<FileTarget> {
  const opened = existing.isBlockDevice()
    ? openDevice(path, path, constants.O_WRONLY, forceInUse)
    : open(path, constants.O_WRONLY)
  const handle = await opened.catch((error: unknown) => {
    throw error instanceof TargetError ? error : targetError(error, path)
  })
  const isBlock = existing.isBlockDevice()
  const flush = async (): Promise<void> => {
    if (isBlock) await handle.sync()
    await handle.close()
  }
  const nothing = (): Promise<void> => Promise.resolve()
  return fileTarget({
    name: path,
    handle,
    isBlank: false,
    isSeekable: isBlock,
    capacity: isBlock ? await deviceSize(existing.rdev) : undefined,
    flush,
    publish: nothing,
    undo: nothing
  })
}

interface FileTargetParts {
  readonly name: string
  readonly handle: FileHandle
  readonly isBlank: boolean
  readonly isSeekable: boolean
  readonly capacity?: number | undefined
  readonly early?: EarlyFlush
  /** Makes what was written durable and closes the handle. */
  readonly flush: () => Promise<void>
  /** Makes the result seen under its name. */
  readonly publish: () => Promise<void>
  /** Takes away what was written. */
  readonly undo: () => Promise<void>
}

function fileTarget(parts: FileTargetParts): FileTarget {
  const { name, handle, isBlank, isSeekable, capacity, early, flush, publish, undo } = parts
  const inWords = (error: unknown): never => {
    throw error instanceof TargetError ? error : targetError(error, name)
  }
  const wrote = (size: number): void => {
    try {
      early?.wrote(size)
    } catch (error) {
      inWords(error)
    }
  }
  let isCommitted = false
  let committing: Promise<void> | undefined
  let discarding: Promise<void> | undefined
  const finish = async (): Promise<void> => {
    await flush()
    // The pipeline may have been torn down while the disk was busy.
    if (discarding !== undefined)
      throw new TargetError('TARGET_CLOSED', `${name} was given up before it was finished`, { where: name })
    await publish()
    isCommitted = true
  }
  const discard = async (): Promise<void> => {
    await committing?.catch(() => undefined) // told by commit()
    if (isCommitted) return
    await undo().catch(() => undefined) // what went wrong first is told; the next run finds what is left
    await early?.end().catch(() => undefined) // the handle must not be closed under it
    await handle.close().catch(() => undefined) // closed already when finish() failed half-way
  }
  return {
    name,
    isBlank,
    isSeekable,
    capacity,
    async write(pieces) {
      await writeAll(handle.fd, pieces, name)
      wrote(pieces.reduce((sum, piece) => sum + piece.length, 0))
    },
    async writeAt(offset, piece) {
      await writeAll(handle.fd, [piece], name, offset)
      wrote(piece.length)
    },
    fd: handle.fd,
    wrote,
    setSize: (size) => handle.truncate(size).catch(inWords),
    async commit() {
      committing = finish().catch(inWords)
      await committing
    },
    // Several may ask, and each must wait until it is done: the process may end right after.
    discard: () => (discarding ??= discard())
  }
}
