import { UsageError } from '../errors.js'
import { isFormatted } from './zstd-dictionary.js'

/**
 * FastCOVER (Liao, Petri, Moffat, Wirth: "Effective Construction of Relative Lempel-Ziv Dictionaries", 2016,
 * as in Zstandard): a dictionary is put together of the segments whose short substrings ("dmers", of 8 bytes)
 * occur in the most samples. Its content is raw: no entropy tables, which are worth nothing at our block sizes.
 *
 * Everything is whole numbers, so the same samples give the same dictionary on every machine. Of the dmers only one
 * in eight is looked at, told by its hash, so that it is the same ones wherever they occur: a segment has hundreds of
 * them. Those are listed once, 8 bytes each, for all trials with other segment sizes; the hash of every byte would
 * take four times the samples, or its time again for each trial.
 */

/** Pieces of what is to be compressed, back to back. */
export interface Samples {
  readonly bytes: Uint8Array
  /** Bytes of each; their sum is `bytes.length`. */
  readonly sizes: Uint32Array
}

export interface TrainOptions {
  /** Bytes that the dictionary has at most. */
  readonly size: number
  /** Bytes of a segment, above 8: what is taken from one place at a time. */
  readonly segmentSize: number
  /** What `listDmers` gives for the samples; it serves for many segment sizes. Default: listed. */
  readonly dmers?: Dmers
}

/** The dmers of some samples that are looked at, in order. */
export interface Dmers {
  /** Offset of each in the samples' bytes. */
  readonly positions: Uint32Array
  /** Place of each in tables of `2^20`, by its hash. */
  readonly slots: Uint32Array
  /**
   * What each is worth, by place: in how many samples it occurs beside the first. Once a sample, because a block
   * finds its own repeats without help; beside the first, because what occurs in one sample helps no other.
   */
  readonly counts: Uint16Array
}

const dmerSize = 8
const hashBits = 20
const tableSize = 1 << hashBits
const hashShift = 32 - hashBits

/** The dmers with these bits of the hash zero are looked at. */
const skipMask = 7

/** The hash of the dmer whose bytes are `low` and `high`, little-endian: its high bits are its place in the tables. */
function hashOf(low: number, high: number): number {
  const mixed = Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b)
  const hash = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d)
  return hash ^ (hash >>> 13)
}

/**
 * Lists the dmers of samples and counts them, in shared memory: 1.5 bytes for each byte of the samples, and 2 MiB.
 * Takes 2 MiB more while it works.
 */
export function listDmers({ bytes, sizes }: Samples): Dmers {
  // Half as many again as is likely. Hashes come close to chance where dmers differ, and runs count once.
  const capacity = Math.ceil((bytes.length / (skipMask + 1)) * 1.5)
  const positions = new Uint32Array(new SharedArrayBuffer(4 * capacity))
  const slots = new Uint32Array(new SharedArrayBuffer(4 * capacity))
  const counts = new Uint16Array(new SharedArrayBuffer(2 * tableSize))
  const lastSample = new Uint16Array(tableSize)
  let found = 0
  let start = 0
  sizes.forEach((size, number) => {
    const end = start + size
    const mark = (number % 0xffff) + 1
    let low = 0
    let high = 0
    for (let i = start; i < end; i++) {
      low = (low >>> 8) | (high << 24)
      high = (high >>> 8) | ((bytes[i] ?? 0) << 24)
      if (i - start < dmerSize - 1) continue
      const hash = hashOf(low, high)
      if ((hash & skipMask) !== 0 || found === capacity) continue
      const slot = hash >>> hashShift
      if (found > 0 && slots[found - 1] === slot) continue
      positions[found] = i - dmerSize + 1
      slots[found] = slot
      found += 1
      const last = lastSample[slot] ?? 0
      if (last === mark) continue
      lastSample[slot] = mark
      const count = counts[slot] ?? 0
      if (last !== 0 && count < 0xffff) counts[slot] = count + 1
    }
    start = end
  })
  return { positions: positions.subarray(0, found), slots: slots.subarray(0, found), counts }
}

/**
 * A raw-content dictionary for Zstd; empty when the samples are too small to hold a segment. The segments that
 * bring the most stand at its end, where a match is cheapest to name.
 *
 * Takes 4 MiB beside the samples, their dmers and the dictionary.
 */
export function trainDictionary(samples: Samples, { size, segmentSize, dmers }: TrainOptions): Uint8Array {
  if (!(segmentSize > dmerSize) || !(size >= segmentSize))
    throw new UsageError(`segments of ${segmentSize} bytes do not make a dictionary of ${size} bytes`)
  const { bytes } = samples
  if (bytes.length < segmentSize) return new Uint8Array(0)
  const listed = dmers ?? listDmers(samples)
  const segmentCount = Math.max(1, Math.floor(size / segmentSize))
  const epochs = planEpochs(bytes.length, segmentCount, segmentSize * 10)
  const select = createSelector(listed, segmentSize)

  const dictionary = new Uint8Array(size)
  let tail = size
  // Where little is left to take, segments become tiny; then it is enough to have been everywhere twice.
  let turnsLeft = 2 * (segmentCount + epochs.count)
  for (let epoch = 0; tail >= dmerSize && turnsLeft > 0; epoch = (epoch + 1) % epochs.count) {
    turnsLeft -= 1
    const segment = select(epoch * epochs.size, (epoch + 1) * epochs.size)
    const length = Math.min(segment.end - segment.start, tail)
    tail -= length
    dictionary.set(bytes.subarray(segment.start, segment.start + length), tail)
  }
  // Zstd takes what begins with this for a dictionary of another kind.
  return dictionary.subarray(isFormatted(dictionary.subarray(tail)) ? tail + 1 : tail)
}

/** The samples are gone through part by part, one segment from each, so that all of them have a say. */
function planEpochs(
  totalSize: number,
  segmentCount: number,
  sizeMin: number
): { count: number; size: number } {
  const size = Math.floor(totalSize / segmentCount)
  if (size >= sizeMin) return { count: segmentCount, size }
  const least = Math.min(sizeMin, totalSize)
  return { count: Math.floor(totalSize / least), size: least }
}

/** Where a segment lies in the samples' bytes; empty when it would bring nothing. */
interface Segment {
  readonly start: number
  readonly end: number
}

/** Finds the segment of the highest score in a range of the bytes, and takes the value of its dmers away. */
function createSelector(
  { positions, slots, counts }: Dmers,
  segmentSize: number
): (start: number, end: number) => Segment {
  const values = new Uint16Array(counts)
  /** How often each dmer is in the window: it counts once. */
  const inWindow = new Uint16Array(tableSize)
  const reach = segmentSize - dmerSize
  const valueAt = (i: number): number => values[slots[i] ?? 0] ?? 0
  return (start, end) => {
    const until = firstFrom(positions, end)
    let left = firstFrom(positions, start)
    let score = 0
    let bestScore = 0
    let first = left
    let last = left
    for (let right = left; right < until; right++) {
      const entering = slots[right] ?? 0
      const count = inWindow[entering] ?? 0
      if (count === 0) score += values[entering] ?? 0
      inWindow[entering] = count + 1
      for (const least = (positions[right] ?? 0) - reach; (positions[left] ?? 0) < least; left++) {
        const leaving = slots[left] ?? 0
        const rest = (inWindow[leaving] ?? 0) - 1
        inWindow[leaving] = rest
        if (rest === 0) score -= values[leaving] ?? 0
      }
      if (score <= bestScore) continue
      bestScore = score
      first = left
      last = right
    }
    for (; left < until; left++) inWindow[slots[left] ?? 0] = 0
    if (bestScore === 0) return { start, end: start }
    // What brings nothing at either end is left out.
    while (valueAt(first) === 0) first += 1
    while (valueAt(last) === 0) last -= 1
    for (let i = first; i <= last; i++) values[slots[i] ?? 0] = 0
    return { start: positions[first] ?? 0, end: (positions[last] ?? 0) + dmerSize }
  }
}

/** Index of the first of some rising numbers that is at least `least`; their count when there is none. */
function firstFrom(rising: Uint32Array, least: number): number {
  let low = 0
  let high = rising.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((rising[middle] ?? 0) < least) low = middle + 1
    else high = middle
  }
  return low
}
