import { constants, fstatSync, type Stats } from 'node:fs'
import { lstat, open, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errnoOf, TargetError } from '../errors.js'
import { createEarlyFlush, type EarlyFlush } from './early-flush.js'
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
  /** What is read in the same run, by path or descriptor: the target may be none of it, by any name. */
  readonly sources?: readonly (string | number)[]
}

/** Standard output, or any open descriptor that is written front to back. */
export function openDescriptor(fd: number, name: string): Target {
  return {
    name,
    isBlocking: true,
    write: (pieces) => writeAll(fd, pieces, name),
    commit: () => Promise.resolve(),
    discard: () => Promise.resolve()
  }
}

/**
 * Whether a target could be opened, as far as that can be told without touching anything.
 *
 * @param path or an open descriptor, such as standard output
 * @throws TargetError TARGET_EXISTS, TARGET_IS_SOURCE, TARGET_UNWRITABLE
 */
export async function checkTarget(
  path: string | number,
  { force = false, sources = [] }: FileTargetOptions = {}
): Promise<Stats | undefined> {
  const existing = await statIfThere(path)
  if (existing?.isDirectory() === true)
    throw targetError(Object.assign(new Error(), { code: 'EISDIR' }), nameOf(path))
  await refuseSources(path, sources)
  if (typeof path === 'number') return existing
  if (existing === undefined) {
    const folder = await stat(dirname(path)).catch((error: unknown) => {
      throw targetError(error, path)
    })
    if (!folder.isDirectory()) throw targetError(Object.assign(new Error(), { code: 'ENOTDIR' }), path)
    if ((await lstat(path).catch(() => undefined)) !== undefined && !force)
      throw exists(path, `${path} is a link to a file that is not there; --force replaces the link`)
  }
  const isCharacters = existing?.isFIFO() === true || existing?.isCharacterDevice() === true
  if (existing !== undefined && !force && !isCharacters)
    throw exists(path, `${path} exists already; --force replaces it`)
  return existing
}

/**
 * Opens a target by path. A regular file is written beside its name as `.partial` and renamed by `commit`;
 * a device, a pipe or a socket is written in place.
 *
 * @throws TargetError TARGET_EXISTS, TARGET_IS_SOURCE, TARGET_UNWRITABLE
 */
export async function openTarget(path: string, options: FileTargetOptions = {}): Promise<FileTarget> {
  const existing = await checkTarget(path, options)
  if (existing !== undefined && !existing.isFile()) return openInPlace(path)
  // Renaming onto a link would replace the link, not the file it names.
  return openPartial(path, existing === undefined ? path : await realpath(path), existing?.mode, options)
}

/** @param mode of the file that is replaced: what was private stays so */
async function openPartial(
  name: string,
  path: string,
  mode: number | undefined,
  { force = false, sources = [] }: FileTargetOptions
): Promise<FileTarget> {
  const partial = `${path}.partial`
  await refuseSources(partial, sources)
  // Never the same file twice: should its writer be alive still, it would spoil ours.
  if (force)
    await rm(partial, { force: true }).catch((error: unknown) => {
      throw targetError(error, partial)
    })
  const handle = await open(partial, 'wx+').catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw targetError(error, name)
    throw exists(
      partial,
      `${partial} exists: another hexz is writing it, or one was killed; remove it or use --force`
    )
  })
  const own = await handle.stat()
  if (mode !== undefined) await handle.chmod(mode & 0o7777).catch(() => undefined) // not every filesystem has modes
  const isOwn = async (): Promise<boolean> => isSameFile(own, await statIfThere(partial))
  const early = createEarlyFlush(handle)
  const flush = async (): Promise<void> => {
    await early.end()
    await handle.sync()
    if (!(await isOwn()))
      throw exists(partial, `${partial} was taken over by another hexz --force, which will make ${name}`)
    await handle.close()
  }
  const publish = async (): Promise<void> => {
    await (force ? rename(partial, path) : renameNew(partial, path))
    await syncFolder(dirname(path))
  }
  const undo = async (): Promise<void> => {
    if (await isOwn()) await rm(partial, { force: true })
  }
  return fileTarget({ name, handle, isBlank: true, isSeekable: true, early, flush, publish, undo })
}

/** Renames, unless somebody made the target in the meantime. */
async function renameNew(from: string, to: string): Promise<void> {
  if ((await statIfThere(to)) !== undefined)
    throw exists(to, `${to} was created by another program in the meantime; --force replaces it`)
  await rename(from, to)
}

function exists(where: string, message: string): TargetError {
  return new TargetError('TARGET_EXISTS', message, { where })
}

async function openInPlace(path: string): Promise<FileTarget> {
  const handle = await open(path, constants.O_WRONLY).catch((error: unknown) => {
    throw targetError(error, path)
  })
  const isBlock = (await handle.stat()).isBlockDevice()
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
  readonly early?: EarlyFlush
  /** Makes what was written durable and closes the handle. */
  readonly flush: () => Promise<void>
  /** Makes the result seen under its name. */
  readonly publish: () => Promise<void>
  /** Takes away what was written. */
  readonly undo: () => Promise<void>
}

function fileTarget(parts: FileTargetParts): FileTarget {
  const { name, handle, isBlank, isSeekable, early, flush, publish, undo } = parts
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
    await undo()
    await early?.end().catch(() => undefined) // the handle must not be closed under it
    await handle.close().catch(() => undefined) // closed already when finish() failed half-way
  }
  return {
    name,
    isBlank,
    isSeekable,
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

export async function refuseSources(
  path: string | number,
  sources: readonly (string | number)[]
): Promise<void> {
  const target = await statIfThere(path)
  const isOneOfBoth =
    target?.isFile() === true || target?.isBlockDevice() === true || target?.isFIFO() === true
  if (!isOneOfBoth) return // a socket or a terminal is read and written
  for (const source of sources) {
    if (!isSameFile(target, await statIfThere(source))) continue
    const sourceName = typeof source === 'number' ? nameOf(source) : `the source ${source}`
    throw new TargetError(
      'TARGET_IS_SOURCE',
      `${nameOf(path)} is the same ${target.isFIFO() ? 'pipe' : 'file'} as ${sourceName}; choose another target`,
      { where: nameOf(path) }
    )
  }
}

/** Whether two names stand for one file; of a device, whatever nodes they are. */
export function isSameFile(one: Stats | undefined, other: Stats | undefined): boolean {
  if (one === undefined || other === undefined) return false
  if (one.isBlockDevice() && other.isBlockDevice()) return one.rdev === other.rdev
  return one.dev === other.dev && one.ino === other.ino
}

const nameOf = (path: string | number): string =>
  typeof path === 'string' ? path : path === 0 ? 'standard input' : 'standard output'

/** `undefined` when nothing is there. */
async function statIfThere(path: string | number): Promise<Stats | undefined> {
  if (typeof path === 'number') return fstatSync(path)
  return stat(path).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw targetError(error, path)
  })
}

/** Makes the rename itself durable. Some filesystems don't let a folder be opened; then the system decides when. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined)
  await folder?.sync().catch(() => undefined)
  await folder?.close()
}
