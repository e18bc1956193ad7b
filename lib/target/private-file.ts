import { lstat, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errnoOf, TargetError } from '../errors.js'
import { exists } from './identity.js'
import { openFolder, syncFolder } from './partial.js'
import { targetError } from './write-all.js'

/**
 * Writes a small file that only its owner may read, from its first byte on; under its name when it is whole.
 *
 * @param options.force replace a file that is there
 * @throws TargetError; then nothing is left of it, and a file that was there is as it was
 */
export async function writePrivateFile(
  path: string,
  bytes: Uint8Array,
  { force = false }: { readonly force?: boolean } = {}
): Promise<void> {
  await refuseExisting(path, force)
  const partial = `${path}.partial`
  const handle = await open(partial, 'wx', 0o600).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw targetError(error, path)
    throw exists(partial, `${partial} exists: another hexz is writing it, or one was killed; remove it`)
  })
  try {
    try {
      await handle.writeFile(bytes)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await refuseExisting(path, force)
    const folder = await openFolder(dirname(path), path)
    try {
      await rename(partial, path)
      await syncFolder(folder, path)
    } finally {
      await folder?.close().catch(() => undefined) // the sync has told all there is to tell
    }
  } catch (error) {
    await rm(partial, { force: true }).catch(() => undefined) // what ended it is to be told
    throw error instanceof TargetError ? error : targetError(error, path)
  }
}

async function refuseExisting(path: string, force: boolean): Promise<void> {
  const isThere = await lstat(path).then(
    () => true,
    () => false // whatever it is, writing will tell
  )
  if (isThere && !force) throw exists(path, `${path} exists already`, 'replaces it')
}
