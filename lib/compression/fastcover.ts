import { UsageError } from '../errors.js'
import { isFormatted } from './zstd-dictionary.js'

/**
 * FastCOVER (Liao, Petri, Moffat, Wirth: "Effective Construction of Relative Lempel-Ziv Dictionaries", 2016,
 * as in Zstandard): a dictionary is put together of the segments whose short substrings ("dmers", of 8 bytes)
 * occur in the most samples. Its content is raw: no entropy tables, which are worth nothing at our block sizes.
 *
 * Everything is whole numbers, so the same samples give the same dictionary on every machine. A dmer's hash is
 * computed again wherever it is needed, because one kept for each byte would take four times the samples. Of the
 * dmers only a quarter is looked at, told by their hash so that it is the same ones wherever they occur: the tables
 * are what takes the time, and a segment has hundreds of dmers.
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
  /** What `countDmers` gives for the samples; it serves for many segment sizes. Default: counted. */
  readonly counts?: Uint16Array
}

const dmerSize = 8
const hashBits = 20
const tableSize = 1 << hashBits
const hashShift = 32 - hashBits

/** The dmers with these bits of the hash zero are looked at. */
const skipMask = 3

/** The hash of the dmer whose bytes are `low` and `high`, little-endian: its high bits are its place in the tables. */
function hashOf(low: number, high: number): number {
  const mixed = Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b)
  const hash = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d)
  return hash ^ (hash >>> 13)
}

/**
 * What each dmer is worth, by hash: in how many samples it occurs beside the first. Once a sample, because a
 * block finds its own repeats without help; beside the first, because what occurs in one sample helps no other.
 */
export function countDmers({ bytes, sizes }: Samples): Uint16Array {
  const counts = new Uint16Array(tableSize)
  const lastSample = new Uint16Array(tableSize)
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
      const full = hashOf(low, high)
      if ((full & skipMask) !== 0) continue
      const hash = full >>> hashShift
      const last = lastSample[hash] ?? 0
      if (last === mark) continue
      lastSample[hash] = mark
      const count = counts[hash] ?? 0
      if (last !== 0 && count < 0xffff) counts[hash] = count + 1
    }
    start = end
  })
  return counts
}

/**
 * A raw-content dictionary for Zstd; empty when the samples are too small to hold a segment. The segments that
 * bring the most stand at its end, where a match is cheapest to name.
 *
 * Takes 4 MiB beside the samples and the dictionary.
 */
export function trainDictionary(samples: Samples, { size, segmentSize, counts }: TrainOptions): Uint8Array {
  if (!(segmentSize > dmerSize) || !(size >= segmentSize))
    throw new UsageError(`segments of ${segmentSize} bytes do not make a dictionary of ${size} bytes`)
  const { bytes } = samples
  const positionCount = bytes.length - dmerSize + 1
  const windowSize = segmentSize - dmerSize + 1
  if (positionCount < windowSize) return new Uint8Array(0)
  const values = new Uint16Array(counts ?? countDmers(samples))
  const segmentCount = Math.max(1, Math.floor(size / segmentSize))
  const epochs = planEpochs(positionCount, segmentCount, segmentSize * 10)
  const select = createSelector(bytes, values, windowSize)

  const dictionary = new Uint8Array(size)
  let tail = size
  // Where little is left to take, segments become tiny; then it is enough to have been everywhere twice.
  let turnsLeft = 2 * (segmentCount + epochs.count)
  for (let epoch = 0; tail >= dmerSize && turnsLeft > 0; epoch = (epoch + 1) % epochs.count) {
    turnsLeft -= 1
    const start = epoch * epochs.size
    const segment = select(start, start + epochs.size)
    if (segment.start === segment.end) continue
    const length = Math.min(segment.end - segment.start + dmerSize - 1, tail)
    tail -= length
    dictionary.set(bytes.subarray(segment.start, segment.start + length), tail)
  }
  // Zstd takes what begins with this for a dictionary of another kind.
  return dictionary.subarray(isFormatted(dictionary.subarray(tail)) ? tail + 1 : tail)
}

/** The samples are gone through part by part, one segment from each, so that all of them have a say. */
function planEpochs(
  positionCount: number,
  segmentCount: number,
  sizeMin: number
): { count: number; size: number } {
  const size = Math.floor(positionCount / segmentCount)
  if (size >= sizeMin) return { count: segmentCount, size }
  const least = Math.min(sizeMin, positionCount)
  return { count: Math.floor(positionCount / least), size: least }
}

/** Positions of a segment's dmers, from the first to behind the last; none when it would bring nothing. */
interface Segment {
  readonly start: number
  readonly end: number
}

/** Finds the window of the highest score in a range, and takes the value of its dmers away. */
function createSelector(
  bytes: Uint8Array,
  values: Uint16Array,
  windowSize: number
): (start: number, end: number) => Segment {
  /** How often each dmer is in the window: it counts once. */
  const inWindow = new Uint16Array(tableSize)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const hashAt = (at: number): number => hashOf(view.getInt32(at, true), view.getInt32(at + 4, true))
  const valueAt = (at: number): number => {
    const hash = hashAt(at)
    return (hash & skipMask) === 0 ? (values[hash >>> hashShift] ?? 0) : 0
  }
  return (start, end) => {
    let score = 0
    let bestScore = 0
    let bestStart = start
    for (let i = start; i < end; i++) {
      const entering = hashAt(i)
      if ((entering & skipMask) === 0) {
        const slot = entering >>> hashShift
        const count = inWindow[slot] ?? 0
        if (count === 0) score += values[slot] ?? 0
        inWindow[slot] = count + 1
      }
      const first = i - windowSize + 1
      if (first < start) continue
      if (score > bestScore) {
        bestScore = score
        bestStart = first
      }
      const leaving = hashAt(first)
      if ((leaving & skipMask) !== 0) continue
      const slot = leaving >>> hashShift
      const left = (inWindow[slot] ?? 0) - 1
      inWindow[slot] = left
      if (left === 0) score -= values[slot] ?? 0
    }
    for (let i = Math.max(start, end - windowSize + 1); i < end; i++) inWindow[hashAt(i) >>> hashShift] = 0
    if (bestScore === 0) return { start, end: start }
    // What brings nothing at either end is left out.
    let first = bestStart
    let last = bestStart + windowSize - 1
    while (valueAt(first) === 0) first += 1
    while (valueAt(last) === 0) last -= 1
    for (let i = first; i <= last; i++) if ((hashAt(i) & skipMask) === 0) values[hashAt(i) >>> hashShift] = 0
    return { start: first, end: last + 1 }
  }
}
