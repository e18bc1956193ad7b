import { constants, type Stats } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { errnoOf, TargetError } from '../errors.js'
import { targetError } from './write-all.js'

/** What is written, and why a block device can't take it; `bytes` may go anywhere. */
const refusals = {
  bytes: undefined,
  snapshot: 'a snapshot is a file, and could not be read back there; to write a disk image back, use extract',
  dictionary: 'a dictionary is a file, and could not be read back there',
  recovered: 'what is recovered goes to a file, so that what is lost is left as a hole'
} as const

export type TargetContent = keyof typeof refusals

/** @throws TargetError TARGET_UNWRITABLE where a block device is to hold what only a file can */
export function refuseDevice(existing: Stats | undefined, name: string, content: TargetContent): void {
  const reason = refusals[content]
  if (reason === undefined || existing?.isBlockDevice() !== true) return
  throw new TargetError('TARGET_UNWRITABLE', `${name} is a block device: ${reason}`, { where: name })
}

/**
 * Opens a block device to be its only user. The system refuses that while it, a partition of it or the disk that
 * it is a partition of is mounted, swap, part of a RAID or volume group, or opened so by another program. Only
 * Linux can be asked; elsewhere the system itself refuses writes to a mounted disk.
 *
 * @param flags `O_RDONLY`, `O_WRONLY` or `O_RDWR`
 * @param forceInUse do not ask
 * @throws TargetError TARGET_IN_USE, TARGET_UNWRITABLE
 */
export async function openDevice(
  path: string,
  name: string,
  flags: number,
  forceInUse: boolean
): Promise<FileHandle> {
  const isAsked = process.platform === 'linux' && !forceInUse
  return open(path, flags | (isAsked ? constants.O_EXCL : 0)).catch((error: unknown) => {
    if (!isAsked || errnoOf(error) !== 'EBUSY') throw targetError(error, name)
    throw new TargetError(
      'TARGET_IN_USE',
      `${name} is in use: it or a partition of it is mounted, is swap, belongs to a RAID or volume group, or is held by another program`,
      { where: name, cause: error, remedy: { option: 'forceInUse', does: 'overwrites it all the same' } }
    )
  })
}

/** The path by which the file of a descriptor can be opened once more. */
const pathOf = (path: string | number): string => (typeof path === 'string' ? path : `/proc/self/fd/${path}`)

/**
 * Makes this process the only user of a block device that somebody else opened, such as the shell for
 * `> /dev/sdb`, until the handle is closed; or tells early that it could not be.
 *
 * @returns `undefined` where the system does not tell, or `forceInUse`
 * @throws TargetError TARGET_IN_USE
 */
export async function claimDevice(
  path: string | number,
  name: string,
  forceInUse: boolean
): Promise<FileHandle | undefined> {
  if (process.platform !== 'linux' || forceInUse) return undefined
  return openDevice(pathOf(path), name, constants.O_RDONLY, false).catch((error: unknown) => {
    if (error instanceof TargetError && error.code === 'TARGET_IN_USE') throw error
    return undefined // it may be written though not read; the descriptor was opened by who may
  })
}

/** Told before anything is written. */
export function checkCapacity(name: string, capacity: number | undefined, size: number): void {
  if (capacity === undefined || capacity >= size) return
  throw new TargetError(
    'TARGET_FULL',
    `${name} has ${capacity} bytes, and ${size} are to go there; nothing was written`,
    { where: name, expected: size, found: capacity }
  )
}
