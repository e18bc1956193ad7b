import { wipe } from '../crypto/sealing.js'
import type { Credentials } from '../crypto/unlock.js'
import type { ByteSource } from '../reader/byte-source.js'
import { openSnapshot, type OpenOptions, type Snapshot } from '../reader/open-snapshot.js'
import { readHeader } from '../reader/structure.js'
import type { Arguments } from './command.js'
import { textFlag } from './options.js'
import { givenPassphrase, passphraseSources, readWhole } from './passphrase.js'
import { ask } from './terminal.js'

/** Credentials whose bytes are the command's own to wipe. */
interface OwnCredentials extends Credentials {
  readonly passphrase?: Buffer
}

/** What opens a snapshot: what was given, else a passphrase that is asked for. */
export async function readCredentials(args: Arguments): Promise<OwnCredentials> {
  const path = textFlag(args, 'identity')
  const given = await givenPassphrase(passphraseSources(args))
  if (path === undefined) return { passphrase: given ?? (await ask('Passphrase: ')) }
  const bytes = await readWhole(path)
  let passphrase = given
  try {
    const askPassphrase = async (): Promise<Buffer> => (passphrase ??= await ask(`Passphrase of ${path}: `))
    const { readIdentity } = await import('../crypto/keys.js') // only who has keys waits for their library
    return { identity: await readIdentity(bytes, path, askPassphrase) }
  } finally {
    wipe(bytes, passphrase)
  }
}

/**
 * Lends the credentials for a snapshot, and wipes the passphrase afterwards. They are asked for only when its
 * header says that it needs some.
 */
export async function withCredentials<T>(
  args: Arguments,
  source: ByteSource,
  use: (credentials: Credentials) => Promise<T>
): Promise<T> {
  const isEncrypted = await readHeader(source).then(
    ({ header }) => header.encrypted,
    () => false // whoever opens it next says what is wrong
  )
  const credentials = isEncrypted ? await readCredentials(args) : {}
  try {
    return await use(credentials)
  } finally {
    wipe(credentials.passphrase)
  }
}

/** The same for a snapshot that `use` opens, and then closes; here it is closed when it does not come to that. */
export async function openWithCredentials(
  args: Arguments,
  source: ByteSource,
  options: OpenOptions = {}
): Promise<Snapshot> {
  try {
    return await withCredentials(args, source, (credentials) =>
      openSnapshot(source, { ...options, ...credentials })
    )
  } catch (error) {
    await source.close()
    throw error
  }
}
