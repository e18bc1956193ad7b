import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { makeSealing, openFrame, wipe } from './crypto/sealing.js'
import { isUsable, readSlots } from './crypto/slots.js'
import { unlock, type Credentials } from './crypto/unlock.js'
import { CorruptError, HexzError, SourceError, TargetError, UsageError } from './errors.js'
import { blake3 } from './format/digest.js'
import { decodeFooterBody, footerSize, splitFooter } from './format/footer.js'
import { decodeFrameHeader, frameHeaderSize } from './format/frame.js'
import { decodeKeyBackup, encodeKeyBackup, keyBackupSizeMax, type KeyBackup } from './format/key-backup.js'
import { openKeyFile, type Piece } from './key-file.js'
import type { ChangeOptions } from './keys.js'
import { formatLimits } from './limits.js'
import { openFileBytes, type ByteSource } from './reader/byte-source.js'
import { readHeader } from './reader/structure.js'
import { sourceError } from './source/source-error.js'
import { writePrivateFile } from './target/private-file.js'

/**
 * Keeps the header and the key slots of a snapshot in a file, for `restoreKeys`. Without them nobody can open an
 * encrypted snapshot, and there is no second copy in it. The file opens nothing by itself, but with it a key that is
 * removed later goes on opening the snapshot.
 *
 * @param to a new file, which only its owner may read
 * @param options.force replace a file that is there
 * @throws CorruptError when there is damage that the backup would keep, or no key; SourceError; TargetError;
 * UnsupportedError
 */
export async function backupKeys(
  path: string,
  to: string,
  options: { readonly force?: boolean } = {}
): Promise<void> {
  const source = await openFileBytes(path)
  try {
    const backup = await readBackup(source)
    const again = await readBackup(source)
    const bytes = encodeKeyBackup(backup)
    if (Buffer.compare(bytes, encodeKeyBackup(again)) !== 0)
      throw new SourceError('SOURCE_CHANGED', `the keys of ${path} changed while they were read`, {
        where: path
      })
    decodeKeyBackup(bytes, to)
    await writePrivateFile(to, bytes, options)
  } finally {
    await source.close()
  }
}

async function readBackup(source: ByteSource): Promise<KeyBackup> {
  const { name, size } = source
  const { header, bytes, framesOffset } = await readHeader(source)
  const area = await source.read(bytes.length, framesOffset - bytes.length)
  if (header.encrypted) {
    const slots = readSlots(area, name)
    const damaged = slots.findIndex((slot) => slot?.type === 'damaged')
    if (damaged !== -1)
      throw new CorruptError(
        'BAD_CHECKSUM',
        `key slot ${damaged} of ${name} is damaged, which the backup would keep; remove it first`,
        { where: name }
      )
    if (!slots.some((_, number) => isUsable(slots, number)))
      throw new CorruptError('BAD_STRUCTURE', `${name} has no key that this hexz can use`, { where: name })
  }
  const end = Math.max(framesOffset, size - footerSize)
  const footer = await source.read(end, size - end)
  const { body } = splitFooter(footer, name)
  if (!header.encrypted) decodeFooterBody(body, name, size)
  return { fileSize: size, footer, headerBytes: bytes, header, area }
}

export interface RestoreOptions extends ChangeOptions {
  /**
   * What opens the snapshot by the keys in the backup. It is needed only for an encrypted snapshot whose end is damaged or
   * missing: then nothing else can tell that the backup is of this snapshot. A function is called when it is needed.
   */
  readonly credentials?: Credentials | (() => Promise<Credentials>)
  /** All as it was when the backup was made, and not only what is damaged. Default false. */
  readonly force?: boolean
}

/**
 * Puts back header and key slots from a backup, in place: those that are damaged, or with `force` all. Keys that were
 * removed since the backup was made may open the snapshot again then; with `force`, those that were added since do not.
 *
 * @returns whether anything had to be changed
 * @throws UsageError when the backup is of another snapshot; TargetError TARGET_EXISTS when the snapshot has other keys
 * that are intact; CorruptError for a damaged backup; KeyError; SourceError; UnsupportedError; the reason of `signal`
 */
export async function restoreKeys(
  path: string,
  from: string,
  { credentials, force = false, signal }: RestoreOptions = {}
): Promise<boolean> {
  const backup = decodeKeyBackup(await readBackupFile(from), from)
  const file = await openKeyFile(path, signal)
  try {
    await checkSnapshot(backup, file.source, from, credentials)
    let isChanged = false
    await file.change(async () => {
      const { headerBytes, area } = backup
      const head = await file.source.read(0, headerBytes.length + area.length)
      const pieces = differencesOf(backup, head)
      const needed = force ? pieces : damagedOf(pieces, backup, head, path)
      if (pieces.length > 0 && needed.length === 0) throw isIntact(path)
      isChanged = needed.length > 0
      return needed
    })
    return isChanged
  } finally {
    await file.close()
  }
}

async function readBackupFile(path: string): Promise<Uint8Array> {
  // Not blocking: to open a pipe would wait for its other end.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw sourceError(error, path)
  })
  try {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(keyBackupSizeMax + 1), 0)
    return buffer.subarray(0, bytesRead)
  } catch (error) {
    throw sourceError(error, path)
  } finally {
    await handle.close().catch(() => undefined) // it was only read
  }
}

/** The slots of another snapshot would lock out everybody for good. */
async function checkSnapshot(
  backup: KeyBackup,
  source: ByteSource,
  from: string,
  credentials: RestoreOptions['credentials']
): Promise<void> {
  const { fileSize, footer, headerBytes, area, header } = backup
  const { size, name } = source
  const framesOffset = headerBytes.length + area.length
  if (size === fileSize && Buffer.compare(await source.read(size - footerSize, footerSize), footer) === 0)
    return
  const isOther = `${from} is a backup of another snapshot than ${name}, or the end of that is damaged`
  if (!header.encrypted || size < framesOffset + frameHeaderSize) throw new UsageError(isOther)
  const given = typeof credentials === 'function' ? await credentials() : credentials
  if (given === undefined)
    throw new UsageError(`${isOther}; a passphrase or identity for a key in the backup can tell`)
  const dataKey = await unlock(area, blake3(headerBytes), given, from)
  const sealing = makeSealing(dataKey, headerBytes)
  try {
    const start = await source.read(framesOffset, frameHeaderSize)
    const { payloadSize } = decodeFrameHeader(start, name, framesOffset)
    if (size < framesOffset + frameHeaderSize + payloadSize) throw new UsageError(isOther)
    openFrame(sealing, await source.read(framesOffset, frameHeaderSize + payloadSize), name, framesOffset)
  } catch (error) {
    if (error instanceof HexzError && !(error instanceof SourceError))
      throw new UsageError(
        `${from} is a backup of another snapshot than ${name}, or both ends of that are damaged`
      )
    throw error
  } finally {
    wipe(dataKey, sealing.dataKey)
  }
}

const { keySlotSize } = formatLimits

/** What differs. Slots that are free in the file come first and those that become free last: there is a key at any moment. */
function differencesOf({ headerBytes, area }: KeyBackup, head: Uint8Array): Piece[] {
  const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)
  const rankOf = ({ offset, bytes }: Piece): number =>
    isZero(bytes) ? 2 : isZero(head.subarray(offset, offset + bytes.length)) ? 0 : 1
  const slots = Array.from({ length: area.length / keySlotSize }, (_, number): Piece => {
    const start = number * keySlotSize
    return { offset: headerBytes.length + start, bytes: area.subarray(start, start + keySlotSize) }
  }).sort((one, other) => rankOf(one) - rankOf(other))
  return [{ offset: 0, bytes: headerBytes }, ...slots].filter(
    ({ offset, bytes }) => Buffer.compare(head.subarray(offset, offset + bytes.length), bytes) !== 0
  )
}

/**
 * Those of the differences that are damage: of the header all, since nothing changes it; slots whose checksum is wrong;
 * and empty ones where the header is damaged, which may be zeros for the same reason.
 */
function damagedOf(
  pieces: readonly Piece[],
  { headerBytes, area }: KeyBackup,
  head: Uint8Array,
  path: string
): Piece[] {
  const isHeaderDamaged = pieces[0]?.offset === 0
  const slots = area.length === 0 ? [] : readSlots(head.subarray(headerBytes.length), path)
  return pieces.filter(({ offset }) => {
    const slot = slots[(offset - headerBytes.length) / keySlotSize]
    return offset === 0 || slot?.type === 'damaged' || (slot === undefined && isHeaderDamaged)
  })
}

function isIntact(path: string): TargetError {
  return new TargetError(
    'TARGET_EXISTS',
    `the header and the keys of ${path} are intact, but not those of the backup: keys were added or removed since`,
    { where: path, remedy: { option: 'force', does: "puts back the backup's" } }
  )
}
