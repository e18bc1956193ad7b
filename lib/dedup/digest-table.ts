import { createRing } from './ring.js'

/** Words of 32 bits in a digest. */
export const digestWords = 8
/** Slots are added a quarter at a time, and only when this full: less memory than doubling, at once and on average. */
const loadMax = 0.85
const growth = 1.25
const slotCountMin = 1024

/** Remembers which digests were seen, in typed arrays: no object for a chunk. */
export interface DigestTable {
  /**
   * The ordinal of the chunk that was added with this digest; or −1, and the digest is added under the next ordinal.
   *
   * @param words 8 × u32, from `at` on
   */
  findOrAdd(words: Uint32Array, at?: number): number
  /** Digests added so far, forgotten ones included: the next ordinal. */
  readonly addedCount: number
  readonly forgottenCount: number
  /** Memory in use, bytes. */
  readonly byteSize: number
}

/**
 * Open addressing with linear probing over the digest's first word. When `capacity` digests are held, each
 * new one makes the oldest be forgotten, which costs a missed repeat and never a wrong one.
 */
export function createDigestTable(capacity: number): DigestTable {
  const digests = createRing(capacity, digestWords)
  /** Row + 1 of a digest, 0 for an empty slot. */
  let slots = new Uint32Array(Math.min(slotCountMin, Math.ceil(capacity / loadMax) + 1))
  let addedCount = 0

  const slotOf = (word: number): number => Math.floor((word / 2 ** 32) * slots.length)
  const next = (slot: number): number => (slot + 1 === slots.length ? 0 : slot + 1)
  const rowAt = (slot: number): number => (slots[slot] ?? 0) - 1

  const insert = (row: number): void => {
    let slot = slotOf(digests.word(row, 0))
    while (slots[slot] !== 0) slot = next(slot)
    slots[slot] = row + 1
  }

  const grow = (): void => {
    slots = new Uint32Array(Math.ceil(Math.min(slots.length * growth, capacity / loadMax + 1)))
    for (let row = 0; row < addedCount; row++) insert(row)
  }

  /** Empties the slot of a row and moves later ones of its run back (Knuth, TAOCP 3, 6.4, algorithm R). */
  const remove = (row: number): void => {
    let hole = slotOf(digests.word(row, 0))
    while (rowAt(hole) !== row) hole = next(hole)
    for (let slot = next(hole); slots[slot] !== 0; slot = next(slot)) {
      const home = slotOf(digests.word(rowAt(slot), 0))
      const isBetween = hole <= slot ? hole < home && home <= slot : hole < home || home <= slot
      if (isBetween) continue
      slots[hole] = slots[slot] ?? 0
      hole = slot
    }
    slots[hole] = 0
  }

  return {
    findOrAdd(words, at = 0) {
      for (let slot = slotOf(words[at] ?? 0); slots[slot] !== 0; slot = next(slot)) {
        const row = rowAt(slot)
        if (digests.equals(row, words, at)) return addedCount - 1 - ((addedCount - 1 - row) % capacity)
      }
      const row = addedCount % capacity
      if (addedCount >= capacity) remove(row)
      else if (addedCount + 1 > slots.length * loadMax) grow()
      digests.set(row, words, at)
      insert(row)
      addedCount += 1
      return -1
    },
    get addedCount() {
      return addedCount
    },
    get forgottenCount() {
      return Math.max(0, addedCount - capacity)
    },
    get byteSize() {
      return digests.byteSize + slots.byteLength
    }
  }
}
