import { constants, createPublicKey, privateDecrypt, type KeyObject } from 'node:crypto'
import {
  CorruptError,
  KeyError,
  LimitError,
  UnsupportedError,
  UsageError,
  type HexzError
} from '../errors.js'
import type { KeySlot, PassphraseSlot, RecipientSlot } from '../format/key-slots.js'
import { withPassphrase } from './passphrase.js'
import { derive, describeExcess } from './scrypt.js'
import { decrypt, wipe } from './sealing.js'
import { affordableSlots, keyIdOf, readSlots, slotContext, type UnreadableSlot } from './slots.js'

/** What opens a snapshot; one is enough. */
export interface Credentials {
  /** A text is taken in Unicode NFC, without a line end behind it; bytes are used as they are. */
  readonly passphrase?: string | Uint8Array
  /** Private RSA key. */
  readonly identity?: KeyObject
  /**
   * Also take a snapshot that is not encrypted, and so needs neither. Default false: who gives a key expects a snapshot
   * that only its owners could have made, and not what somebody has put in its place.
   */
  readonly allowPlain?: boolean
}

/** Whether what was given has to be of use. */
export function expectsEncryption({ passphrase, identity, allowPlain = false }: Credentials): boolean {
  return (passphrase !== undefined || identity !== undefined) && !allowPlain
}

/** For a snapshot that is not encrypted, where that was expected. */
export function refusePlain(where: string): KeyError {
  return new KeyError(
    'NOT_ENCRYPTED',
    `${where} is not encrypted, though a passphrase or identity is given for it: it may have been put in the place of the one that is`,
    { where, remedy: { option: 'allowPlain', does: 'takes it all the same' } }
  )
}

/** Why a slot was passed over that might else have opened. */
interface Obstacle {
  readonly code: 'BAD_CHECKSUM' | 'BAD_STRUCTURE' | 'LIMIT' | 'UNKNOWN_FEATURE'
  /** To be put behind the slot's number. */
  readonly problem: string
}

/**
 * The data key, from whichever slot the credentials open. A slot that is damaged, of a newer kind or asks
 * for too much is passed over, and told of only when no other opens.
 *
 * @throws KeyError KEY_MISSING without credentials, KEY_WRONG when every slot is for another key;
 * CorruptError, LimitError or UnsupportedError when one that was passed over may be the right one
 */
export async function unlock(
  area: Uint8Array,
  headerDigest: Uint8Array,
  credentials: Credentials,
  where: string
): Promise<Buffer> {
  return (await openSlot(area, headerDigest, credentials, where)).dataKey
}

/** What was found in a slot. */
export interface OpenedSlot {
  readonly dataKey: Buffer
  /** Its number. */
  readonly slot: number
}

/** The same, with the slot that opened. @throws as `unlock` */
export async function openSlot(
  area: Uint8Array,
  headerDigest: Uint8Array,
  { passphrase, identity }: Credentials,
  where: string
): Promise<OpenedSlot> {
  if (passphrase === undefined && identity === undefined) {
    throw new KeyError(
      'KEY_MISSING',
      `${where} is encrypted, and neither a passphrase nor an identity is given`,
      { where }
    )
  }
  const keys = { identity: identity === undefined ? undefined : toIdentity(identity), headerDigest }
  const slots = readSlots(area, where)
  const found =
    passphrase === undefined
      ? await trySlots(slots, keys)
      : await withPassphrase(passphrase, (bytes) => trySlots(slots, { ...keys, passphrase: bytes }))
  if (!Array.isArray(found)) return found
  const names = Object.entries({ passphrase, identity }).filter(([, given]) => given !== undefined)
  throw nothingOpens(found, names.map(([name]) => name).join(' and '), where)
}

interface Identity {
  readonly key: KeyObject
  readonly keyId: Uint8Array
}

interface Keys {
  readonly passphrase?: Uint8Array
  readonly identity: Identity | undefined
  readonly headerDigest: Uint8Array
}

function toIdentity(key: KeyObject): Identity {
  if (key.type !== 'private') throw new UsageError(`an identity is a private key; this is a ${key.type} one`)
  const keyId = keyIds.get(key) ?? keyIdOf(createPublicKey(key))
  keyIds.set(key, keyId)
  return { key, keyId }
}

/** A program that opens many snapshots has one identity, and OpenSSL is slow to encode a key. */
const keyIds = new WeakMap<KeyObject, Uint8Array>()

/** The data key, or what was in the way, one for each slot. scrypt comes last, and its least costs first. */
async function trySlots(
  slots: readonly (KeySlot | UnreadableSlot | undefined)[],
  keys: Keys
): Promise<OpenedSlot | Obstacle[]> {
  const obstacles: (Obstacle | undefined)[] = []
  const affordable: readonly (KeySlot | UnreadableSlot)[] = affordableSlots(slots)
  const others = slots.filter((slot) => slot !== undefined).filter((slot) => !affordable.includes(slot))
  for (const slot of [...others, ...affordable]) {
    const number = slots.indexOf(slot)
    const outcome = await trySlot(slot, keys, affordable.includes(slot))
    if (Buffer.isBuffer(outcome)) return { dataKey: outcome, slot: number }
    if (outcome !== undefined)
      obstacles[number] = { ...outcome, problem: `slot ${number} ${outcome.problem}` }
  }
  return obstacles.filter((obstacle) => obstacle !== undefined)
}

/** `undefined` when the slot is intact and for another key. */
async function trySlot(
  slot: KeySlot | UnreadableSlot,
  keys: Keys,
  isAffordable: boolean
): Promise<Buffer | Obstacle | undefined> {
  switch (slot.type) {
    case 'passphrase':
      return openWithPassphrase(slot, keys, isAffordable)
    case 'recipient':
      return openWithIdentity(slot, keys)
    case 'damaged':
      return { code: 'BAD_CHECKSUM', problem: `is damaged: ${slot.problem}` }
    case 'unknown': {
      // A passphrase by another KDF is nothing that an identity could open, and the other way round.
      const isForOthers =
        (slot.kind === 1 && keys.passphrase === undefined) || (slot.kind === 2 && keys.identity === undefined)
      const problem = `is of a kind (${slot.kind}.${slot.scheme}) that this hexz does not know: use a newer hexz`
      return isForOthers ? undefined : { code: 'UNKNOWN_FEATURE', problem }
    }
  }
}

async function openWithPassphrase(
  slot: PassphraseSlot,
  { passphrase, headerDigest }: Keys,
  isAffordable: boolean
): Promise<Buffer | Obstacle | undefined> {
  if (passphrase === undefined) return undefined
  if (!isAffordable) return { code: 'LIMIT', problem: `asks for ${describeExcess(slot)}` }
  const key = await derive(passphrase, slot.salt, slot)
  const aad = Buffer.concat([slotContext, headerDigest])
  const dataKey = decrypt(key, slot.nonce, aad, slot.wrappedKey, slot.tag)
  wipe(key)
  return dataKey
}

function openWithIdentity(
  { keyId, wrappedKey }: RecipientSlot,
  { identity }: Keys
): Buffer | Obstacle | undefined {
  if (identity === undefined || Buffer.compare(keyId, identity.keyId) !== 0) return undefined
  const dataKey = unwrap(wrappedKey, identity.key)
  if (dataKey?.length === 32) return dataKey
  wipe(dataKey)
  return { code: 'BAD_STRUCTURE', problem: 'is damaged: it names this identity, which does not open it' }
}

function unwrap(wrappedKey: Uint8Array, key: KeyObject): Buffer | undefined {
  try {
    const padding = constants.RSA_PKCS1_OAEP_PADDING
    return privateDecrypt({ key, padding, oaepHash: 'sha256' }, wrappedKey)
  } catch {
    return undefined
  }
}

/** Damage comes first: it is what a reader should know of before he doubts his key or his version. */
function nothingOpens(obstacles: readonly Obstacle[], names: string, where: string): HexzError {
  if (obstacles.length === 0)
    return new KeyError('KEY_WRONG', `the ${names} is wrong: no key slot of ${where} opens with it`, {
      where
    })
  const problems = obstacles.map(({ problem }) => problem).join('; ')
  const message = `no key slot of ${where} opens with this ${names}; ${problems}`
  const has = (code: Obstacle['code']): boolean => obstacles.some((obstacle) => obstacle.code === code)
  if (has('BAD_CHECKSUM')) return new CorruptError('BAD_CHECKSUM', message, { where })
  if (has('BAD_STRUCTURE')) return new CorruptError('BAD_STRUCTURE', message, { where })
  if (has('LIMIT')) return new LimitError(message, { where })
  return new UnsupportedError('UNKNOWN_FEATURE', message, { where })
}
