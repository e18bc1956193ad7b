import type { KeyObject } from 'node:crypto'
import { chooseAffordable, isInBounds, scryptDefaults, type ScryptCost } from './crypto/scrypt.js'
import { wipe } from './crypto/sealing.js'
import { isUsable, wrapForRecipient, wrapWithPassphrase, type UnreadableSlot } from './crypto/slots.js'
import { openSlot, type Credentials } from './crypto/unlock.js'
import { KeyError, LimitError, SourceError, UsageError } from './errors.js'
import { blake3 } from './format/digest.js'
import { encodeKeySlot, type KeySlot } from './format/key-slots.js'
import { openKeyFile, readKeys, type KeyArea, type Piece } from './key-file.js'
import { formatLimits } from './limits.js'
import { openFileBytes } from './reader/byte-source.js'

/** A key slot in use, as anyone can read it. */
export interface KeyInfo {
  /** 0 to 15. */
  readonly slot: number
  /** `damaged` and `unknown` (of a newer kind) are slots that this version can't read. */
  readonly type: 'passphrase' | 'recipient' | 'damaged' | 'unknown'
  /** Whether this version can open the snapshot by it, with the right passphrase or identity. */
  readonly isUsable: boolean
  /** Of a passphrase. */
  readonly cost?: ScryptCost
  /** Of a recipient: SHA-256 of the public key's SubjectPublicKeyInfo, in hex. */
  readonly keyId?: string
  /** Of a slot that can't be read: why. */
  readonly problem?: string
}

/** The key slots of an encrypted snapshot that are in use. @throws SourceError, UsageError, CorruptError, UnsupportedError */
export async function listKeys(path: string): Promise<KeyInfo[]> {
  const source = await openFileBytes(path)
  try {
    const { slots } = await readKeys(source)
    return slots.flatMap((slot, number) =>
      slot === undefined ? [] : [{ slot: number, isUsable: isUsable(slots, number), ...describe(slot) }]
    )
  } finally {
    await source.close()
  }
}

function describe(slot: KeySlot | UnreadableSlot): Omit<KeyInfo, 'slot' | 'isUsable'> {
  const { type } = slot
  switch (type) {
    case 'passphrase': {
      const { logN, r, p } = slot
      return { type, cost: { logN, r, p } }
    }
    case 'recipient':
      return { type, keyId: Buffer.from(slot.keyId).toString('hex') }
    case 'damaged':
      return { type, problem: slot.problem }
    case 'unknown':
      return { type, problem: `kind ${slot.kind}.${slot.scheme}, which this hexz does not know` }
  }
}

/** A new key: a passphrase, as for a new snapshot, or a recipient's public RSA key. */
export type NewKey =
  | { readonly passphrase: string | Uint8Array; readonly scrypt?: ScryptCost }
  | { readonly recipient: KeyObject }

export interface ChangeOptions {
  /** While another program has the file, or a key is derived. What is being written is written to its end. */
  readonly signal?: AbortSignal
}

/**
 * Adds a key to an encrypted snapshot, in place: one free slot of 640 bytes is written, and nothing else. Several may
 * do it at once, in any number of processes: each waits for its turn.
 *
 * @param credentials what opens the snapshot now; a function is called when it is known to have a free slot
 * @param newKey a function is called when the snapshot was opened
 * @returns the number of the slot
 * @throws LimitError without a free slot, or when all slots together would ask for more work than a reader takes on;
 * KeyError; SourceError SOURCE_CHANGED when the file was replaced meanwhile, and then the file that has the name now has
 * no new key; TargetError; CorruptError; UsageError; UnsupportedError; the reason of `signal`
 */
export async function addKey(
  path: string,
  credentials: Credentials | (() => Promise<Credentials>),
  newKey: NewKey | (() => Promise<NewKey>),
  { signal }: ChangeOptions = {}
): Promise<number> {
  const file = await openKeyFile(path, signal)
  let dataKey: Buffer | undefined
  try {
    const before = await readKeys(file.source)
    freeSlot(before, path)
    const given = typeof credentials === 'function' ? await credentials() : credentials
    const headerDigest = blake3(before.bytes)
    const opened = await openSlot(before.area, headerDigest, given, path)
    dataKey = opened.dataKey
    const key = typeof newKey === 'function' ? await newKey() : newKey
    checkWork(before, key, path)
    const slot =
      'recipient' in key
        ? wrapForRecipient(dataKey, key.recipient)
        : await wrapWithPassphrase(dataKey, headerDigest, key.passphrase, key.scrypt)
    let number = -1
    await file.change(async () => {
      const now = await readKeys(file.source)
      checkOpener(before, now, opened.slot, path)
      number = freeSlot(now, path)
      checkWork(now, key, path)
      return [slotPiece(now, number, slot)]
    })
    return number
  } finally {
    wipe(dataKey)
    await file.close()
  }
}

/** Whoever was shut out while a key was derived must not let in anybody. */
function checkOpener(before: KeyArea, now: KeyArea, number: number, path: string): void {
  const start = number * formatLimits.keySlotSize
  const slotOf = ({ area }: KeyArea): Uint8Array => area.subarray(start, start + formatLimits.keySlotSize)
  if (Buffer.compare(before.bytes, now.bytes) === 0 && Buffer.compare(slotOf(before), slotOf(now)) === 0)
    return
  throw new SourceError(
    'SOURCE_CHANGED',
    `the key in slot ${number} of ${path} was removed or changed by another program in the meantime; nothing was added`,
    { where: path }
  )
}

function freeSlot({ slots }: KeyArea, path: string): number {
  const number = slots.indexOf(undefined)
  if (number !== -1) return number
  throw new LimitError(`all ${formatLimits.keySlotCount} key slots of ${path} are taken; remove one first`, {
    where: path
  })
}

/** Every key must be tried when its owner comes. Slots that are out of bounds by themselves are not counted. */
function checkWork({ slots }: KeyArea, key: NewKey, path: string): void {
  if ('recipient' in key) return
  const passphrases = slots.filter((slot) => slot?.type === 'passphrase')
  const costs: ScryptCost[] = [...passphrases, key.scrypt ?? scryptDefaults].filter(isInBounds)
  if (chooseAffordable(costs).length === costs.length) return
  throw new LimitError(
    `the passphrases of ${path} would together ask for more work than a reader takes on; remove one, or make it cheaper`,
    { where: path }
  )
}

/**
 * Empties a key slot of an encrypted snapshot, in place. It takes no key, and leaves those alone who have a copy of the
 * file from before.
 *
 * @param slot 0 to 15
 * @throws KeyError KEY_MISSING when no other slot could open the snapshot; UsageError for a slot that is empty or not
 * there; SourceError SOURCE_CHANGED when the file was replaced meanwhile; TargetError; CorruptError; UnsupportedError;
 * the reason of `signal`
 */
export async function removeKey(path: string, slot: number, { signal }: ChangeOptions = {}): Promise<void> {
  const last = formatLimits.keySlotCount - 1
  if (!Number.isInteger(slot) || slot < 0 || slot > last)
    throw new UsageError(`slot ${slot} is not a whole number from 0 to ${last}`)
  const file = await openKeyFile(path, signal)
  try {
    checkRemoval(await readKeys(file.source), slot, path) // tells before there is a wait
    await file.change(async () => {
      const now = await readKeys(file.source)
      checkRemoval(now, slot, path)
      return [slotPiece(now, slot, undefined)]
    })
  } finally {
    await file.close()
  }
}

function checkRemoval({ slots }: KeyArea, slot: number, path: string): void {
  if (slots[slot] === undefined) {
    const taken = [...slots.keys()].filter((number) => slots[number] !== undefined)
    throw new UsageError(`slot ${slot} of ${path} is empty; in use are ${taken.join(', ')}`)
  }
  const left = slots.map((other, number) => (number === slot ? undefined : other))
  if (left.some((_, number) => isUsable(left, number))) return
  const what = isUsable(slots, slot)
    ? `slot ${slot} holds the last key of ${path}`
    : `${path} has no other key that this hexz can use`
  throw new KeyError('KEY_MISSING', `${what}; without it nobody could open the snapshot, so it stays`, {
    where: path
  })
}

/** One write inside one slot: whatever happens in the middle of it, the other keys still open the snapshot. */
function slotPiece({ bytes }: KeyArea, number: number, slot: KeySlot | undefined): Piece {
  return { offset: bytes.length + number * formatLimits.keySlotSize, bytes: encodeKeySlot(slot) }
}
