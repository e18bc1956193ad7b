import { dirname } from 'node:path'
import { stat } from 'node:fs/promises'
import { openDescriptorBytes, openFileBytes, spool, type ByteSource } from '../reader/byte-source.js'
import { openHttpBytes } from '../reader/http-source.js'
import { isHttpUrl } from '../reader/http-url.js'
import { openSource } from '../source/file-source.js'
import { descriptorIn, openInput } from './options.js'

/**
 * A snapshot as bytes that can be read at any offset: a file, also as standard input, or a URL. One that
 * comes through a pipe is copied to a temporary file first: beside the target when that is a file, else in the system's temporary folder.
 *
 * @param targetPath `-` or a path
 */
export async function openSnapshotBytes(path: string, targetPath = '-'): Promise<ByteSource> {
  if (isHttpUrl(path)) return openHttpBytes(path)
  const folder = await folderBeside(targetPath)
  const fd = descriptorIn(path)
  if (fd !== undefined) {
    const name = fd === 0 ? 'standard input' : path
    return openDescriptorBytes(fd, name) ?? spool(await openInput(path), folder)
  }
  const stats = await stat(path).catch(() => undefined)
  if (stats?.isFIFO() === true) return spool(await openSource(path), folder)
  return openFileBytes(path)
}

/** Where there is room for what is being extracted: not beside a device, whose folder is held in memory. */
async function folderBeside(path: string): Promise<string | undefined> {
  if (path === '-') return undefined
  const stats = await stat(path).catch(() => undefined)
  return stats === undefined || stats.isFile() ? dirname(path) : undefined
}
