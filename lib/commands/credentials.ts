import { wipe } from '../crypto/sealing.js'
import { toPassphrase } from '../crypto/passphrase.js'
import { refusePlain, type Credentials } from '../crypto/unlock.js'
import type { ByteSource } from '../reader/byte-source.js'
import { openSnapshot, type OpenOptions, type Snapshot } from '../reader/open-snapshot.js'
import { readHeader } from '../reader/structure.js'
import { isSet, type Arguments } from './command.js'
import { textFlag } from './options.js'
import { givenSecret, passphraseSources, type GivenSecret } from './passphrase.js'
import { readSecret } from './secret.js'
import { ask } from './terminal.js'

/** Credentials whose bytes are the command's own to wipe. */
interface OwnCredentials extends Credentials {
  readonly passphrase?: Buffer
}

/** What opens a snapshot: what was given, else a passphrase that is asked for. */
export async function readCredentials(args: Arguments, signal: AbortSignal): Promise<OwnCredentials> {
  return toCredentials(args, await givenSecret(passphraseSources(args), signal), signal)
}

async function toCredentials(
  args: Arguments,
  given: GivenSecret | undefined,
  signal: AbortSignal
): Promise<OwnCredentials> {
  const path = textFlag(args, 'identity')
  const allowPlain = isSet(args, 'allowPlain')
  if (path === undefined) {
    const { bytes, where } = given ?? (await ask('Passphrase: '))
    return { passphrase: toPassphrase(bytes, where), allowPlain }
  }
  let passphrase = given?.bytes
  let file: Buffer | undefined
  try {
    file = await readSecret(path, 'whole', signal)
    const askPassphrase = async (): Promise<Buffer> =>
      (passphrase ??= (await ask(`Passphrase of ${path}: `)).bytes)
    const { readIdentity } = await import('../crypto/keys.js') // only who has keys waits for their library
    return { identity: await readIdentity(file, path, askPassphrase), allowPlain }
  } finally {
    wipe(file, passphrase)
  }
}

/**
 * Lends the credentials for a snapshot, and wipes the passphrase afterwards. They are asked for only when its
 * header says that it needs some. Those that were given must be needed, and are read even when they are not.
 *
 * @throws KeyError NOT_ENCRYPTED when something that opens it was given for a snapshot that needs nothing
 */
export async function withCredentials<T>(
  args: Arguments,
  source: ByteSource,
  signal: AbortSignal,
  use: (credentials: Credentials) => Promise<T>
): Promise<T> {
  const isEncrypted = await readHeader(source).then(
    ({ header }) => header.encrypted,
    () => undefined // whoever opens it next says what is wrong
  )
  const given = await givenSecret(passphraseSources(args), signal)
  const path = textFlag(args, 'identity')
  const isGiven = given !== undefined || path !== undefined
  let credentials: OwnCredentials = {}
  if (isEncrypted === true || (isEncrypted === undefined && isGiven))
    credentials = await toCredentials(args, given, signal)
  else if (isGiven) {
    wipe(given?.bytes)
    if (path !== undefined) wipe(await readSecret(path, 'whole', signal))
    if (!isSet(args, 'allowPlain')) throw refusePlain(source.name)
  }
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
  signal: AbortSignal,
  options: OpenOptions = {}
): Promise<Snapshot> {
  try {
    return await withCredentials(args, source, signal, (credentials) =>
      openSnapshot(source, { ...options, ...credentials })
    )
  } catch (error) {
    await source.close()
    throw error
  }
}
