import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { errnoOf, TargetError } from '../errors.js'
import { deviceSize } from '../source/file-source.js'
import { openDevice } from './device.js'
import { refuseSources } from './identity.js'
import type { FileTargetOptions } from './target.js'
import { targetError, writeAll } from './write-all.js'

/** A file or block device that is there and is changed where it lies. */
export interface InPlaceTarget {
  readonly name: string
  /** When it was opened. Bytes. */
  readonly size: number
  /** What cannot change its size. */
  readonly isDevice: boolean
  /** Fills `into` from `offset`; fewer bytes where the target ends. Gives how many. */
  read(into: Uint8Array, offset: number): Promise<number>
  writeAt(offset: number, piece: Uint8Array): Promise<void>
  setSize(size: number): Promise<void>
  /** Makes what was written durable. */
  sync(): Promise<void>
  close(): Promise<void>
}

/** @throws TargetError TARGET_UNWRITABLE, TARGET_IS_SOURCE, TARGET_IN_USE */
export async function openInPlaceTarget(
  path: string,
  { sources = [], forceInUse = false }: Pick<FileTargetOptions, 'sources' | 'forceInUse'> = {}
): Promise<InPlaceTarget> {
  const existing = await refuseSources(path, sources)
  // Not blocking: to open a pipe would wait for its other end.
  const opened =
    existing?.isBlockDevice() === true
      ? openDevice(path, path, constants.O_RDWR, forceInUse)
      : open(path, constants.O_RDWR | constants.O_NONBLOCK)
  const handle = await opened.catch((error: unknown) => {
    if (error instanceof TargetError) throw error
    throw errnoOf(error) === 'ENOENT' ? missing(path) : targetError(error, path)
  })
  const inWords = (error: unknown): never => {
    throw error instanceof TargetError ? error : targetError(error, path)
  }
  try {
    const stats = await handle.stat()
    const isDevice = stats.isBlockDevice()
    if (!isDevice && !stats.isFile())
      throw new TargetError(
        'TARGET_UNWRITABLE',
        `${path} is neither a file nor a block device, so it can't be changed in place`,
        { where: path }
      )
    const size = isDevice ? await deviceSize(stats.rdev) : stats.size
    if (size === undefined)
      throw new TargetError('TARGET_UNWRITABLE', `the system does not tell the size of ${path}`, {
        where: path
      })
    return {
      name: path,
      size,
      isDevice,
      async read(into, offset) {
        let filled = 0
        while (filled < into.length) {
          const { bytesRead } = await handle
            .read(into, filled, into.length - filled, offset + filled)
            .catch(inWords)
          if (bytesRead === 0) break
          filled += bytesRead
        }
        return filled
      },
      writeAt: (offset, piece) => writeAll(handle.fd, [piece], path, offset),
      setSize: (newSize) => handle.truncate(newSize).catch(inWords),
      sync: () => handle.sync().catch(inWords),
      close: () => handle.close().catch(() => undefined) // after `sync` there is nothing that it could tell
    }
  } catch (error) {
    await handle.close().catch(() => undefined)
    throw targetError(error, path)
  }
}

function missing(path: string): TargetError {
  return new TargetError(
    'TARGET_UNWRITABLE',
    `${path} does not exist, so nothing can be changed in it; extract makes it when it is not in place`,
    { where: path }
  )
}
