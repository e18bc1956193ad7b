import { constants } from 'node:fs'
import { open, realpath, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errnoOf, TargetError } from '../errors.js'
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
  /** Sets the final size; what was never written is a hole. */
  setSize(size: number): Promise<void>
}

export interface FileTargetOptions {
  /** Replace an existing target. Default false. */
  readonly force?: boolean
  /** Paths that are read in the same run: the target may be none of them, by any name. */
  readonly sources?: readonly string[]
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
 * Opens a target by path. A regular file is written beside its name as `.partial` and renamed by `commit`;
 * a device, a pipe or a socket is written in place.
 *
 * @throws TargetError TARGET_EXISTS, TARGET_IS_SOURCE, TARGET_UNWRITABLE
 */
export async function openTarget(
  path: string,
  { force = false, sources = [] }: FileTargetOptions = {}
): Promise<FileTarget> {
  const existing = await statIfThere(path)
  if (existing?.isDirectory() === true)
    throw targetError(Object.assign(new Error(), { code: 'EISDIR' }), path)
  await refuseSources(path, sources)
  const isCharacters = existing?.isFIFO() === true || existing?.isCharacterDevice() === true
  if (existing !== undefined && !force && !isCharacters) {
    throw new TargetError('TARGET_EXISTS', `${path} exists already; --force replaces it`, { where: path })
  }
  if (existing !== undefined && !existing.isFile()) return openInPlace(path)
  // Renaming onto a link would replace the link, not the file it names.
  return openPartial(path, existing === undefined ? path : await realpath(path), { force, sources })
}

async function openPartial(
  name: string,
  path: string,
  { force = false, sources = [] }: FileTargetOptions
): Promise<FileTarget> {
  const partial = `${path}.partial`
  await refuseSources(partial, sources)
  const handle = await open(partial, force ? 'w+' : 'wx+').catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw targetError(error, name)
    throw new TargetError(
      'TARGET_EXISTS',
      `${partial} exists: another hexz is writing it, or one was killed; remove it or use --force`,
      { where: partial }
    )
  })
  const flush = async (): Promise<void> => {
    await handle.sync()
    await handle.close()
  }
  const publish = async (): Promise<void> => {
    await (force ? rename(partial, path) : renameNew(partial, path))
    await syncFolder(dirname(path))
  }
  return fileTarget({
    name,
    handle,
    isBlank: true,
    isSeekable: true,
    flush,
    publish,
    undo: () => rm(partial, { force: true })
  })
}

/** Renames, unless somebody made the target in the meantime. */
async function renameNew(from: string, to: string): Promise<void> {
  if ((await statIfThere(to)) !== undefined) {
    throw new TargetError(
      'TARGET_EXISTS',
      `${to} was created by another program in the meantime; --force replaces it`,
      { where: to }
    )
  }
  await rename(from, to)
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
  return fileTarget({
    name: path,
    handle,
    isBlank: false,
    isSeekable: isBlock,
    flush,
    publish: () => Promise.resolve(),
    undo: () => Promise.resolve()
  })
}

interface FileTargetParts {
  readonly name: string
  readonly handle: FileHandle
  readonly isBlank: boolean
  readonly isSeekable: boolean
  /** Makes what was written durable and closes the handle. */
  readonly flush: () => Promise<void>
  /** Makes the result seen under its name. */
  readonly publish: () => Promise<void>
  /** Takes away what was written. */
  readonly undo: () => Promise<void>
}

function fileTarget(parts: FileTargetParts): FileTarget {
  const { name, handle, isBlank, isSeekable, flush, publish, undo } = parts
  const inWords = (error: unknown): never => {
    throw error instanceof TargetError ? error : targetError(error, name)
  }
  let isCommitted = false
  let discarded: Promise<void> | undefined
  const takeBack = async (): Promise<void> => {
    await handle.close().catch(() => undefined) // closed already when the commit failed half-way
    await undo()
  }
  return {
    name,
    isBlank,
    isSeekable,
    write: (pieces) => writeAll(handle.fd, pieces, name),
    writeAt: (offset, piece) => writeAll(handle.fd, [piece], name, offset),
    setSize: (size) => handle.truncate(size).catch(inWords),
    async commit() {
      await flush().catch(inWords)
      // The pipeline may have been torn down while the disk was busy.
      if (discarded !== undefined)
        throw new TargetError('TARGET_CLOSED', `${name} was given up before it was finished`, { where: name })
      await publish().catch(inWords)
      isCommitted = true
    },
    async discard() {
      if (!isCommitted) await (discarded ??= takeBack())
    }
  }
}

async function refuseSources(path: string, sources: readonly string[]): Promise<void> {
  const target = await statIfThere(path)
  if (target === undefined) return
  for (const source of sources) {
    const other = await statIfThere(source)
    if (other?.dev === target.dev && other.ino === target.ino) {
      throw new TargetError(
        'TARGET_IS_SOURCE',
        `${path} is the same file as the source ${source}; choose another target`,
        { where: path }
      )
    }
  }
}

/** `undefined` when nothing is there. */
async function statIfThere(path: string): Promise<Awaited<ReturnType<typeof stat>> | undefined> {
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
