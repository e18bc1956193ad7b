import {
  constants,
  createCipheriv,
  createHash,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  scrypt,
  type KeyObject
} from 'node:crypto'
import { CorruptError, KeyError, LimitError } from '../errors.js'
import {
  decodeKeySlot,
  encodeKeySlot,
  type KeySlot,
  type PassphraseSlot,
  type RecipientSlot
} from '../format/key-slots.js'
import { encodeHeader, type Header } from '../format/header.js'
import { formatLimits } from '../limits.js'
import { decrypt, makeSealing, wipe, type Sealing } from './sealing.js'

/** Cost of scrypt (RFC 7914) for new slots: 128 MiB and about 0.4 s. */
const scryptDefaults = { logN: 17, r: 8, p: 1 } as const
/** What a slot may ask of a reader: a hostile snapshot must not take all memory or hang. */
const scryptLimits = { logNMin: 10, logNMax: 20, rMax: 32, pMax: 16, memoryMax: 256 * 1024 * 1024 } as const
const slotContext = Buffer.from('hexz 1 slot\0')

/** What opens a snapshot. */
export interface Credentials {
  readonly passphrase?: Uint8Array
  /** Private RSA key. */
  readonly identity?: KeyObject
}

/** What a new snapshot is locked with: one slot each. */
export interface Locks {
  readonly passphrase?: Uint8Array
  /** Public RSA keys. */
  readonly recipients?: readonly KeyObject[]
}

/** Passphrases compare as people see them: Unicode NFC, as UTF-8, without the line end of a file. */
export function normalizePassphrase(text: string): Buffer {
  const passphrase = Buffer.from(text.replace(/\r?\n$/, '').normalize('NFC'))
  if (passphrase.length === 0)
    throw new KeyError('KEY_MISSING', 'the passphrase is empty; give one of at least one character')
  return passphrase
}

/** Credentials as programs give them. */
export function toCredentials({
  passphrase,
  identity
}: {
  passphrase?: string | Uint8Array
  identity?: KeyObject
}): Credentials {
  return {
    ...(passphrase === undefined
      ? {}
      : { passphrase: typeof passphrase === 'string' ? normalizePassphrase(passphrase) : passphrase }),
    ...(identity === undefined ? {} : { identity })
  }
}

/** A fresh data key for a snapshot with this header, and the slots that hold it. */
export async function lock(
  header: Header,
  locks: Locks
): Promise<{ sealing: Sealing; keySlots: Uint8Array }> {
  const dataKey = randomBytes(32)
  const sealing = makeSealing(dataKey, encodeHeader(header))
  const keySlots = await makeSlots(dataKey, sealing.headerDigest, locks)
  wipe(dataKey)
  return { sealing, keySlots }
}

/** The key slot area of a new snapshot. @throws LimitError for more than 16 locks */
export async function makeSlots(
  dataKey: Uint8Array,
  headerDigest: Uint8Array,
  { passphrase, recipients = [] }: Locks
): Promise<Uint8Array> {
  const slots: KeySlot[] = recipients.map((key) => wrapForRecipient(dataKey, key))
  if (passphrase !== undefined) slots.unshift(await wrapWithPassphrase(dataKey, headerDigest, passphrase))
  if (slots.length > formatLimits.keySlotCount)
    throw new LimitError(
      `a snapshot has ${formatLimits.keySlotCount} key slots; ${slots.length} keys were given`
    )
  return Buffer.concat(Array.from({ length: formatLimits.keySlotCount }, (_, i) => encodeKeySlot(slots[i])))
}

export async function wrapWithPassphrase(
  dataKey: Uint8Array,
  headerDigest: Uint8Array,
  passphrase: Uint8Array
): Promise<PassphraseSlot> {
  const salt = randomBytes(32)
  const nonce = randomBytes(12)
  const key = await derive(passphrase, { ...scryptDefaults, salt })
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(Buffer.concat([slotContext, headerDigest]))
  const wrappedKey = Buffer.concat([cipher.update(dataKey), cipher.final()])
  wipe(key)
  return { type: 'passphrase', ...scryptDefaults, salt, nonce, wrappedKey, tag: cipher.getAuthTag() }
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

/** Slots that can be read; a damaged one locks out only its own key. */
export function readSlots(area: Uint8Array, where: string): (KeySlot | 'damaged' | undefined)[] {
  return Array.from({ length: formatLimits.keySlotCount }, (_, i) => {
    const start = i * formatLimits.keySlotSize
    try {
      return decodeKeySlot(
        area.subarray(start, start + formatLimits.keySlotSize),
        `key slot ${i} of ${where}`
      )
    } catch {
      return 'damaged'
    }
  })
}

/**
 * The data key, from whichever slot the credentials open.
 *
 * @throws KeyError KEY_MISSING without credentials, KEY_WRONG when no slot opens; CorruptError when a
 * damaged slot may be the reason; LimitError for a slot that asks for too much
 */
export async function unlock(
  area: Uint8Array,
  headerDigest: Uint8Array,
  credentials: Credentials,
  where: string
): Promise<Buffer> {
  const slots = readSlots(area, where)
  const { passphrase, identity } = credentials
  if (passphrase === undefined && identity === undefined) {
    throw new KeyError(
      'KEY_MISSING',
      `${where} is encrypted; give --passphrase-file, --identity or HEXZ_PASSPHRASE`,
      { where }
    )
  }
  for (const slot of slots) {
    if (slot === undefined || slot === 'damaged') continue
    const key =
      slot.type === 'passphrase'
        ? await openWithPassphrase(slot, headerDigest, passphrase, where)
        : openWithIdentity(slot, identity)
    if (key !== undefined) return key
  }
  if (slots.includes('damaged')) {
    throw new CorruptError(
      'BAD_CHECKSUM',
      `no key slot of ${where} opens with this key, and at least one slot is damaged`,
      { where }
    )
  }
  const what = [
    passphrase === undefined ? undefined : 'passphrase',
    identity === undefined ? undefined : 'identity'
  ]
    .filter((name) => name !== undefined)
    .join(' and ')
  throw new KeyError('KEY_WRONG', `the ${what} is wrong: no key slot of ${where} opens with it`, { where })
}

async function openWithPassphrase(
  slot: PassphraseSlot,
  headerDigest: Uint8Array,
  passphrase: Uint8Array | undefined,
  where: string
): Promise<Buffer | undefined> {
  if (passphrase === undefined) return undefined
  const { logN, r, p } = slot
  const { logNMin, logNMax, rMax, pMax, memoryMax } = scryptLimits
  if (
    logN < logNMin ||
    logN > logNMax ||
    r < 1 ||
    r > rMax ||
    p < 1 ||
    p > pMax ||
    128 * r * 2 ** logN > memoryMax
  ) {
    throw new LimitError(
      `a key slot of ${where} asks for scrypt with N = 2^${logN}, r = ${r}, p = ${p}, which is out of bounds`,
      { where }
    )
  }
  const key = await derive(passphrase, slot)
  const dataKey = decrypt(
    key,
    slot.nonce,
    Buffer.concat([slotContext, headerDigest]),
    slot.wrappedKey,
    slot.tag
  )
  wipe(key)
  return dataKey
}

function openWithIdentity(slot: RecipientSlot, identity: KeyObject | undefined): Buffer | undefined {
  if (identity === undefined) return undefined
  try {
    const key = privateDecrypt(
      { key: identity, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
      slot.wrappedKey
    )
    return key.length === 32 ? key : undefined
  } catch {
    return undefined // made for another key
  }
}

function derive(
  passphrase: Uint8Array,
  { logN, r, p, salt }: { logN: number; r: number; p: number; salt: Uint8Array }
): Promise<Buffer> {
  const N = 2 ** logN
  return new Promise((resolve, reject) => {
    scrypt(
      passphrase,
      salt,
      32,
      { N, r, p, maxmem: 128 * N * r + 128 * r * p + 1024 * 1024 },
      (error, key) => {
        if (error === null) resolve(key)
        else reject(error)
      }
    )
  })
}
