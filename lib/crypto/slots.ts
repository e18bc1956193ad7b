import {
  constants,
  createCipheriv,
  createHash,
  publicEncrypt,
  randomBytes,
  type KeyObject
} from 'node:crypto'
import { CorruptError, LimitError, UnsupportedError, UsageError } from '../errors.js'
import {
  decodeKeySlot,
  encodeKeySlot,
  type KeySlot,
  type PassphraseSlot,
  type RecipientSlot
} from '../format/key-slots.js'
import { encodeHeader, type Header } from '../format/header.js'
import { formatLimits } from '../limits.js'
import { withPassphrase } from './passphrase.js'
import {
  chooseAffordable,
  derive,
  describeCost,
  isInBounds,
  scryptDefaults,
  type ScryptCost
} from './scrypt.js'
import { makeSealing, wipe, type Sealing } from './sealing.js'

/** Bound into the seal of a passphrase slot, before the digest of the header. */
export const slotContext = Buffer.from('hexz 1 slot\0')

/** What a new snapshot is locked with: one slot each. */
export interface Locks {
  /** A text is taken in Unicode NFC, without a line end behind it; bytes are used as they are. */
  readonly passphrase?: string | Uint8Array
  /** Public RSA keys. */
  readonly recipients?: readonly KeyObject[]
  /** Cost of guessing the passphrase. Default N = 2^15, r = 8, p = 3; less is right for random keys only. */
  readonly scrypt?: ScryptCost
}

/**
 * A fresh data key for a snapshot with this header, and the slots that will hold it: scrypt takes so long that a
 * build need not wait for it. The slots reject where a recipient's key can't be used.
 *
 * @throws UsageError without a lock; LimitError for more than 16, or a cost that no reader would take
 */
export function lock(header: Header, locks: Locks): { sealing: Sealing; keySlots: Promise<Uint8Array> } {
  checkLocks(locks)
  const headerBytes = encodeHeader(header)
  const dataKey = randomBytes(32)
  const sealing = makeSealing(dataKey, headerBytes)
  const keySlots = makeSlots(dataKey, sealing.headerDigest, locks).finally(() => wipe(dataKey))
  keySlots.catch(() => undefined) // a build that failed before it needs them has its own error to tell
  return { sealing, keySlots }
}

function checkLocks({ passphrase, recipients = [], scrypt = scryptDefaults }: Locks): void {
  const count = recipients.length + (passphrase === undefined ? 0 : 1)
  if (count === 0)
    throw new UsageError('no passphrase or recipient is given, so nobody could open the snapshot')
  if (count > formatLimits.keySlotCount)
    throw new LimitError(`a snapshot has ${formatLimits.keySlotCount} key slots; ${count} keys were given`)
  if (passphrase !== undefined) checkCost(scrypt)
}

function checkCost(cost: ScryptCost): void {
  if (!isInBounds(cost)) throw new LimitError(`${describeCost(cost)} is out of bounds`)
}

/** The key slot area of a new snapshot. */
export async function makeSlots(
  dataKey: Uint8Array,
  headerDigest: Uint8Array,
  { passphrase, recipients = [], scrypt }: Locks
): Promise<Uint8Array> {
  const slots: KeySlot[] = recipients.map((key) => wrapForRecipient(dataKey, key))
  if (passphrase !== undefined)
    slots.unshift(await wrapWithPassphrase(dataKey, headerDigest, passphrase, scrypt))
  return Buffer.concat(Array.from({ length: formatLimits.keySlotCount }, (_, i) => encodeKeySlot(slots[i])))
}

/** @throws LimitError for a cost that no reader would take */
export async function wrapWithPassphrase(
  dataKey: Uint8Array,
  headerDigest: Uint8Array,
  passphrase: string | Uint8Array,
  { logN, r, p }: ScryptCost = scryptDefaults
): Promise<PassphraseSlot> {
  const cost = { logN, r, p }
  checkCost(cost)
  const salt = randomBytes(32)
  const nonce = randomBytes(12)
  const key = await withPassphrase(passphrase, (bytes) => derive(bytes, salt, cost))
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.concat([slotContext, headerDigest]))
  const wrappedKey = Buffer.concat([cipher.update(dataKey), cipher.final()])
  wipe(key)
  return { type: 'passphrase', ...cost, salt, nonce, wrappedKey, tag: cipher.getAuthTag() }
}

/** RSAES-OAEP (RFC 8017) with SHA-256. */
export function wrapForRecipient(dataKey: Uint8Array, publicKey: KeyObject): RecipientSlot {
  const wrappedKey = publicEncrypt(
    { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
    dataKey
  )
  return { type: 'recipient', keyId: keyIdOf(publicKey), wrappedKey }
}

/** SHA-256 of the public key's SubjectPublicKeyInfo: what `openssl pkey -pubout -outform DER | sha256sum` prints. */
export function keyIdOf(publicKey: KeyObject): Buffer {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest()
}

/** A slot that this version cannot read. */
export type UnreadableSlot =
  | { readonly type: 'damaged'; readonly problem: string }
  /** Of a newer kind, or a known kind by a newer scheme. */
  | { readonly type: 'unknown'; readonly kind: number; readonly scheme: number }

/** The 16 slots; `undefined` is an empty one. One that can't be read locks out only its own key. */
export function readSlots(area: Uint8Array, where: string): (KeySlot | UnreadableSlot | undefined)[] {
  return Array.from({ length: formatLimits.keySlotCount }, (_, i) => {
    const start = i * formatLimits.keySlotSize
    const bytes = area.subarray(start, start + formatLimits.keySlotSize)
    try {
      return decodeKeySlot(bytes, `key slot ${i} of ${where}`)
    } catch (error) {
      if (error instanceof UnsupportedError)
        return { type: 'unknown', kind: bytes[0] ?? 0, scheme: bytes[4] ?? 0 }
      const isChecksum = error instanceof CorruptError && error.code === 'BAD_CHECKSUM'
      return { type: 'damaged', problem: `its ${isChecksum ? 'checksum is' : 'sizes are'} wrong` }
    }
  })
}

/** Passphrase slots that a reader tries, in its order; it passes over those that ask for too much work. */
export function affordableSlots(slots: readonly (KeySlot | UnreadableSlot | undefined)[]): PassphraseSlot[] {
  return chooseAffordable(slots.filter((slot) => slot?.type === 'passphrase'))
}

/** Whether this version can open a snapshot with these slots by the one of that number. */
export function isUsable(slots: readonly (KeySlot | UnreadableSlot | undefined)[], number: number): boolean {
  const slot = slots[number]
  return slot?.type === 'recipient' || (slot?.type === 'passphrase' && affordableSlots(slots).includes(slot))
}
