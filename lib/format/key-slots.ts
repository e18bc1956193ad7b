import { crc32 } from 'node:zlib'
import { CorruptError, LimitError, UnsupportedError } from '../errors.js'
import { formatLimits as limits } from '../limits.js'
import { readFields, writeFields } from './bytes.js'

/*
 * Key slot: 640 bytes, 16 of them behind the header of an encrypted snapshot. Each holds the same data
 * key, wrapped for one passphrase or one recipient, and can be rewritten without touching the rest.
 *
 *   0  type      u8   0 empty, 1 passphrase, 2 recipient; an empty slot is all zeros
 *   1  reserved  3 zero bytes
 *   4  body      as below, then zeros
 * 636  checksum  u32  CRC-32 of the 636 bytes before it (0 in an empty slot)
 *
 * passphrase: kdf u8 (1 scrypt), logN u8, r u8, p u8, salt 32, nonce 12, wrapped key 32, tag 16
 * recipient:  scheme u8 (1 RSA-OAEP, SHA-256), reserved u8, wrappedSize u16, keyId 32, wrapped key
 *             keyId is SHA-256 of the public key's SubjectPublicKeyInfo in DER
 */

const slotSize = limits.keySlotSize
const checksumOffset = slotSize - 4
const wrappedSizeMax = checksumOffset - 4 - 36
const emptySlot = new Uint8Array(slotSize)

export interface PassphraseSlot {
  readonly type: 'passphrase'
  /** scrypt's N is 2^logN. */
  readonly logN: number
  readonly r: number
  readonly p: number
  readonly salt: Uint8Array
  readonly nonce: Uint8Array
  readonly wrappedKey: Uint8Array
  readonly tag: Uint8Array
}

export interface RecipientSlot {
  readonly type: 'recipient'
  readonly keyId: Uint8Array
  readonly wrappedKey: Uint8Array
}

export type KeySlot = PassphraseSlot | RecipientSlot

/** One slot of 640 bytes; `undefined` gives an empty one. */
export function encodeKeySlot(slot: KeySlot | undefined): Uint8Array {
  if (slot === undefined) return new Uint8Array(slotSize)
  const fields = writeFields(slotSize)
  if (slot.type === 'passphrase') {
    fields.u8(1).zeros(3).u8(1).u8(slot.logN).u8(slot.r).u8(slot.p)
    fields
      .bytes(slot.salt)
      .bytes(slot.nonce)
      .bytes(slot.wrappedKey)
      .bytes(slot.tag)
      .zeros(slotSize - 8 - 92)
  } else {
    if (slot.wrappedKey.length > wrappedSizeMax) {
      throw new LimitError(
        `a wrapped key of ${slot.wrappedKey.length} bytes does not fit a key slot; use RSA up to 4096 bits`
      )
    }
    fields.u8(2).zeros(3).u8(1).u8(0).u16(slot.wrappedKey.length)
    fields
      .bytes(slot.keyId)
      .bytes(slot.wrappedKey)
      .zeros(slotSize - 40 - slot.wrappedKey.length)
  }
  const bytes = fields.done()
  new DataView(bytes.buffer).setUint32(checksumOffset, crc32(bytes.subarray(0, checksumOffset)), true)
  return bytes
}

/**
 * @returns `undefined` for an empty slot
 * @throws CorruptError BAD_CHECKSUM, BAD_STRUCTURE; UnsupportedError UNKNOWN_FEATURE for a newer kind of slot
 */
export function decodeKeySlot(bytes: Uint8Array, where: string): KeySlot | undefined {
  if (Buffer.compare(bytes, emptySlot) === 0) return undefined
  const expected = readFields(bytes.subarray(checksumOffset), where).u32()
  const found = crc32(bytes.subarray(0, checksumOffset))
  if (expected !== found)
    throw new CorruptError('BAD_CHECKSUM', `${where} is damaged: its checksum is wrong`, {
      where,
      expected,
      found
    })
  const fields = readFields(bytes.subarray(0, checksumOffset), where)
  const type = fields.u8()
  fields.bytes(3)
  const scheme = fields.u8()
  if (scheme !== 1 || (type !== 1 && type !== 2)) {
    throw new UnsupportedError(
      'UNKNOWN_FEATURE',
      `${where} is of a kind (${type}.${scheme}) that this hexz does not know: use a newer hexz`,
      { where, found: type }
    )
  }
  if (type === 1) {
    const [logN, r, p] = [fields.u8(), fields.u8(), fields.u8()]
    return {
      type: 'passphrase',
      logN,
      r,
      p,
      salt: fields.bytes(32),
      nonce: fields.bytes(12),
      wrappedKey: fields.bytes(32),
      tag: fields.bytes(16)
    }
  }
  fields.u8()
  const wrappedSize = fields.u16()
  return { type: 'recipient', keyId: fields.bytes(32), wrappedKey: fields.bytes(wrappedSize) }
}
