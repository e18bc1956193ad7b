import { fstatSync, type Stats } from 'node:fs'
import { stat } from 'node:fs/promises'
import { errnoOf, TargetError } from '../errors.js'
import { targetError } from './write-all.js'

/** @returns what is there. @throws TargetError TARGET_IS_SOURCE */
export async function refuseSources(
  path: string | number,
  sources: readonly (string | number)[]
): Promise<Stats | undefined> {
  const target = await statIfThere(path)
  const isOneOfBoth =
    target?.isFile() === true || target?.isBlockDevice() === true || target?.isFIFO() === true
  if (!isOneOfBoth) return target // a socket or a terminal is read and written
  for (const source of sources) {
    if (!isSame(target, await statIfThere(source))) continue
    const sourceName = typeof source === 'number' ? nameOf(source) : `the source ${source}`
    throw new TargetError(
      'TARGET_IS_SOURCE',
      `${nameOf(path)} is the same ${target.isFIFO() ? 'pipe' : 'file'} as ${sourceName}; choose another target`,
      { where: nameOf(path) }
    )
  }
  return target
}

/** Whether it is the same file. A device is the same by any of its nodes. */
export function isSame(one: Stats | undefined, other: Stats | undefined): boolean {
  if (one === undefined || other === undefined) return false
  if (one.isBlockDevice() && other.isBlockDevice()) return one.rdev === other.rdev
  return one.dev === other.dev && one.ino === other.ino
}

export const nameOf = (path: string | number): string =>
  typeof path === 'string' ? path : path === 0 ? 'standard input' : 'standard output'

/** `undefined` when nothing is there. */
export async function statIfThere(path: string | number): Promise<Stats | undefined> {
  if (typeof path === 'number') return fstatSync(path)
  return stat(path).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw targetError(error, path)
  })
}

/** @param does what option `force` would do about it */
export function exists(where: string, summary: string, does?: string): TargetError {
  const remedy = does === undefined ? {} : { remedy: { option: 'force', does } }
  return new TargetError('TARGET_EXISTS', summary, { where, ...remedy })
}
