import type { Stats } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errnoOf, TargetError } from '../errors.js'
import { blake3 } from '../format/digest.js'
import { targetError } from './write-all.js'

/** Bytes of a file name, on every common filesystem. */
const nameSizeMax = 255
const suffix = '.partial'
const digestSize = 16

/**
 * Where a target is written until it is whole: its name with `.partial`. A name that would be too long is cut,
 * between two characters, and told from its like by a digest, so that what a killed run left is found again.
 */
export function partialPath(path: string): string {
  const name = Buffer.from(basename(path))
  if (name.length + suffix.length <= nameSizeMax) return `${path}${suffix}`
  let size = nameSizeMax - suffix.length - digestSize - 1
  while (((name[size] ?? 0) & 0xc0) === 0x80) size--
  const digest = blake3(name).toString('hex').slice(0, digestSize)
  return join(dirname(path), `${name.toString('utf8', 0, size)}~${digest}${suffix}`)
}

/**
 * The mode to create a target with: whoever may not read one of the sources may not read what is made of them.
 * Files and block devices count. The group of a source that is not the target's own has the rights of others.
 *
 * @param group of the target
 */
export function modeLike(sources: readonly (Stats | undefined)[], group: number): number {
  let mode = 0o666
  for (const source of sources) {
    if (source?.isFile() !== true && source?.isBlockDevice() !== true) continue
    const othersMay = (source.mode & 0o004) !== 0
    const groupMay = (source.mode & 0o040) !== 0 && (othersMay || source.gid === group)
    mode &= 0o600 | (groupMay ? 0o060 : 0) | (othersMay ? 0o006 : 0)
  }
  return mode
}

/** The group that a new file in a folder will have; a filesystem may be mounted so that it has another. */
export async function groupIn(folder: string): Promise<number> {
  const { mode, gid } = await stat(folder)
  const isOfFolder = (mode & 0o2000) !== 0 || process.platform !== 'linux'
  return isOfFolder ? gid : (process.getegid?.() ?? gid)
}

/**
 * Gives a new file the owner, group and mode of the one that it will replace, as far as the system lets us. A group
 * that is not the old one gets nothing.
 */
export async function takeOver(handle: FileHandle, old: Stats): Promise<void> {
  await handle
    .chown(old.uid, old.gid)
    .catch(() => handle.chown(-1, old.gid))
    .catch(() => undefined)
  const { gid } = await handle.stat()
  // Not every filesystem has modes.
  await handle.chmod(old.mode & (gid === old.gid ? 0o777 : 0o707)).catch(() => undefined)
}

/** What a filesystem says that has no way of syncing a folder; then the system decides when. */
const noFolderSync = ['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EACCES', 'EPERM', 'EISDIR', 'EBADF']

const unlessMissing = (error: unknown): undefined => {
  if (noFolderSync.includes(errnoOf(error) ?? '')) return undefined
  throw error
}

/** Opened before a rename, so that what can fail fails while nothing was changed. @throws TargetError */
export async function openFolder(path: string, name: string): Promise<FileHandle | undefined> {
  return open(path, 'r')
    .catch(unlessMissing)
    .catch((error: unknown) => {
      throw targetError(error, name)
    })
}

/** Makes a rename in the folder durable. @param name of the file, for the message. @throws TargetError */
export async function syncFolder(folder: FileHandle | undefined, name: string): Promise<void> {
  await folder
    ?.sync()
    .catch(unlessMissing)
    .catch((error: unknown) => {
      const what = error instanceof Error ? error.message : String(error)
      throw new TargetError(
        'TARGET_UNWRITABLE',
        `${name} is there and whole, but its folder can't be synced, so that a power cut may undo it: ${what}`,
        { where: name, cause: error }
      )
    })
}
