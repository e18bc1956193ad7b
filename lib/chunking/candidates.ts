import { cutBits, windowSize, type FastCdcOptions } from './fastcdc.js'
import { gear } from './gear.js'
import { isZero } from './zero.js'

/*
 * FastCDC for several chunk sizes in one pass. Whether a position may be a cut depends on the 32 bytes before it
 * alone, and the average size only on how many top bits of the hash must be zero. So the positions with the fewest
 * are found once, and each size chooses among them.
 */

/** Positions behind the byte that may end a chunk, in order. */
export interface Candidates {
  readonly positions: Uint32Array
  /** Top bits of the hash that are zero at each. */
  readonly levels: Uint8Array
}

/** Zeros of this length are passed over: in them the hash is the same everywhere, and begins with a one. */
const zeroRunSize = 16 * 1024

/**
 * @param start the first position; 32 bytes lie before it unless it is 0
 * @param levelMin top bits that must be zero at least, 1 to 31
 */
export function findCandidates(bytes: Uint8Array, start: number, levelMin: number): Candidates {
  const found: number[] = []
  let positions = new Uint32Array(1024)
  let levels = new Uint8Array(1024)
  let count = 0
  for (let from = start; from < bytes.length; from += zeroRunSize) {
    const to = Math.min(from + zeroRunSize, bytes.length)
    const end = isZero(bytes.subarray(from, to)) ? Math.min(from + windowSize, to) : to
    found.length = 0
    scan(bytes, from, end, levelMin, found)
    if (count + found.length / 2 > positions.length) {
      const size = 2 * positions.length + zeroRunSize
      positions = grown(positions, new Uint32Array(size))
      levels = grown(levels, new Uint8Array(size))
    }
    for (let i = 0; i < found.length; i += 2) {
      positions[count] = found[i] ?? 0
      levels[count++] = Math.clz32(found[i + 1] ?? 0)
    }
  }
  return { positions: positions.slice(0, count), levels: levels.slice(0, count) }
}

function grown<T extends Uint32Array | Uint8Array>(values: T, larger: T): T {
  larger.set(values)
  return larger
}

const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1

/**
 * Appends the position and the hash of each candidate. Four bytes a load where they lie so: that takes two thirds of
 * the time of one at a time; with a call for each candidate it takes half as long again.
 */
function scan(bytes: Uint8Array, start: number, end: number, levelMin: number, found: number[]): void {
  const mask = -(2 ** (32 - levelMin)) | 0
  const table = gear
  const wordStart = isLittleEndian ? Math.min(end, start + ((4 - ((bytes.byteOffset + start) & 3)) & 3)) : end
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + wordStart, (end - wordStart) >> 2)
  const wordCount = words.length
  const wordEnd = wordStart + wordCount * 4
  /* eslint-disable @typescript-eslint/no-non-null-assertion -- values of bytes, and indices below the length */
  let hash = 0
  for (let i = Math.max(0, start - windowSize); i < start; i++) hash = ((hash << 1) + table[bytes[i]!]!) | 0
  for (let i = start; i < wordStart; i++) {
    hash = ((hash << 1) + table[bytes[i]!]!) | 0
    if ((hash & mask) === 0) found.push(i + 1, hash)
  }
  for (let i = 0; i < wordCount; i++) {
    const word = words[i]!
    const first = ((hash << 1) + table[word & 255]!) | 0
    const second = ((first << 1) + table[(word >>> 8) & 255]!) | 0
    const third = ((second << 1) + table[(word >>> 16) & 255]!) | 0
    hash = ((third << 1) + table[word >>> 24]!) | 0
    if ((first & mask) === 0) found.push(wordStart + i * 4 + 1, first)
    if ((second & mask) === 0) found.push(wordStart + i * 4 + 2, second)
    if ((third & mask) === 0) found.push(wordStart + i * 4 + 3, third)
    if ((hash & mask) === 0) found.push(wordStart + i * 4 + 4, hash)
  }
  for (let i = wordEnd; i < end; i++) {
    hash = ((hash << 1) + table[bytes[i]!]!) | 0
    if ((hash & mask) === 0) found.push(i + 1, hash)
  }
  /* eslint-enable @typescript-eslint/no-non-null-assertion */
}

/** Chooses the cuts of one chunk size out of what `findCandidates` finds. */
export interface Cutter {
  /**
   * The cuts up to `end` that are certain.
   *
   * @param candidates those behind the `end` of the call before
   * @param offset of their positions in the stream
   * @param isLast the stream ends at `end`
   * @returns where the first chunk starts and where each ends, as offsets in the stream; the same as
   * `createFastCdc` would find
   */
  cut(
    candidates: Candidates,
    offset: number,
    end: number,
    isLast: boolean
  ): { readonly start: number; readonly cuts: readonly number[] }
}

/** @param start offset in the stream of the first chunk */
export function createCutter({ min, avg, max }: FastCdcOptions, start: number): Cutter {
  const { strict, loose } = cutBits(avg)
  let chunkStart = start
  /** Offsets and levels of those that may still count, from `head` on behind `chunkStart`. */
  let offsets = new Float64Array(0)
  let levels = new Uint8Array(0)
  let head = 0

  const offsetAt = (i: number): number => offsets[i] ?? Infinity
  const skipTo = (offset: number): void => {
    while (offsetAt(head) <= offset) head++
  }
  const append = (candidates: Candidates, offset: number): void => {
    const keptCount = offsets.length - head
    const count = keptCount + candidates.positions.length
    const newOffsets = new Float64Array(count)
    const newLevels = new Uint8Array(count)
    newOffsets.set(offsets.subarray(head))
    newLevels.set(levels.subarray(head))
    candidates.positions.forEach((position, i) => (newOffsets[keptCount + i] = offset + position))
    newLevels.set(candidates.levels, keptCount)
    offsets = newOffsets
    levels = newLevels
    head = 0
  }
  /** The first of them that ends a chunk, behind `from` and up to `limit`. */
  const find = (from: number, centre: number, limit: number): number | undefined => {
    for (let i = head; offsetAt(i) <= limit; i++) {
      const isEnd = (levels[i] ?? 0) >= (offsetAt(i) <= centre ? strict : loose)
      if (offsetAt(i) > from && isEnd) return offsetAt(i)
    }
    return undefined
  }
  const next = (end: number, isLast: boolean): number => {
    const size = end - chunkStart
    if (size <= min) return isLast && size > 0 ? end : -1
    const limit = Math.min(end, chunkStart + max)
    const centre = Math.min(limit, chunkStart + avg)
    return find(chunkStart + min, centre, limit) ?? (size >= max || isLast ? limit : -1)
  }

  return {
    cut(candidates, offset, end, isLast) {
      append(candidates, offset)
      const start = chunkStart
      const cuts: number[] = []
      for (let at = next(end, isLast); at !== -1; at = next(end, isLast)) {
        cuts.push(at)
        chunkStart = at
        skipTo(at)
      }
      return { start, cuts }
    }
  }
}
