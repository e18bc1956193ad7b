import { fstatSync, fsync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { promisify } from 'node:util'
import { claimDevice } from './device.js'
import { nameOf } from './identity.js'
import type { FileTargetOptions, Target } from './target.js'
import { targetError, writeAll } from './write-all.js'

const syncDescriptor = promisify(fsync)

/**
 * Standard output, or any open descriptor that is written front to back.
 *
 * @param claim of the block device that it is, which is then synced
 */
export function openDescriptor(fd: number, name: string, claim?: FileHandle): Target {
  return {
    name,
    isBlocking: true,
    write: (pieces) => writeAll(fd, pieces, name),
    async commit() {
      if (!fstatSync(fd).isBlockDevice()) return
      await syncDescriptor(fd).catch((error: unknown) => {
        throw targetError(error, name)
      })
    },
    discard: async () => claim?.close()
  }
}

/** Standard output, where it is no pipe or socket. @throws TargetError TARGET_IN_USE */
export async function openStandardDescriptor(
  fd: number,
  { forceInUse = false }: FileTargetOptions
): Promise<Target> {
  const isBlock = fstatSync(fd).isBlockDevice()
  return openDescriptor(fd, nameOf(fd), isBlock ? await claimDevice(fd, nameOf(fd), forceInUse) : undefined)
}
