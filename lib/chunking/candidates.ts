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
  const positions: number[] = []
  const levels: number[] = []
  for (let from = start; from < bytes.length; from += zeroRunSize) {
    const to = Math.min(from + zeroRunSize, bytes.length)
    const end = isZero(bytes.subarray(from, to)) ? Math.min(from + windowSize, to) : to
    scan(bytes, from, end, levelMin, (position, hash) => {
      positions.push(position)
      levels.push(Math.clz32(hash))
    })
  }
  return { positions: Uint32Array.from(positions), levels: Uint8Array.from(levels) }
}

/** Four bytes a turn; one a turn takes half as long again. */
function scan(
  bytes: Uint8Array,
  start: number,
  end: number,
  levelMin: number,
  found: (position: number, hash: number) => void
): void {
  const mask = -(2 ** (32 - levelMin)) | 0
  const table = gear
  let hash = 0
  for (let i = Math.max(0, start - windowSize); i < start; i++)
    hash = ((hash << 1) + (table[bytes[i] ?? 0] ?? 0)) | 0
  let i = start
  for (; i + 3 < end; i += 4) {
    /* eslint-disable @typescript-eslint/no-non-null-assertion -- a byte's value, and indices below the length */
    const first = ((hash << 1) + table[bytes[i]!]!) | 0
    const second = ((first << 1) + table[bytes[i + 1]!]!) | 0
    const third = ((second << 1) + table[bytes[i + 2]!]!) | 0
    hash = ((third << 1) + table[bytes[i + 3]!]!) | 0
    /* eslint-enable @typescript-eslint/no-non-null-assertion */
    if ((first & mask) === 0) found(i + 1, first)
    if ((second & mask) === 0) found(i + 2, second)
    if ((third & mask) === 0) found(i + 3, third)
    if ((hash & mask) === 0) found(i + 4, hash)
  }
  for (; i < end; i++) {
    hash = ((hash << 1) + (table[bytes[i] ?? 0] ?? 0)) | 0
    if ((hash & mask) === 0) found(i + 1, hash)
  }
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
  /** Offsets and levels of those behind `chunkStart` that may still count. */
  let waiting: { readonly offset: number; readonly level: number }[] = []

  const next = (end: number, isLast: boolean): number => {
    const size = end - chunkStart
    if (size <= min) return isLast && size > 0 ? end : -1
    const limit = Math.min(end, chunkStart + max)
    const centre = Math.min(limit, chunkStart + avg)
    const first = waiting.find(
      ({ offset, level }) => offset > chunkStart + min && level >= (offset <= centre ? strict : loose)
    )
    if (first !== undefined && first.offset <= limit) return first.offset
    return size >= max || isLast ? limit : -1
  }

  return {
    cut({ positions, levels }, offset, end, isLast) {
      positions.forEach((position, i) => {
        const level = levels[i] ?? 0
        if (level >= loose) waiting.push({ offset: offset + position, level })
      })
      const start = chunkStart
      const cuts: number[] = []
      for (let at = next(end, isLast); at !== -1; at = next(end, isLast)) {
        cuts.push(at)
        chunkStart = at
        const kept = waiting.findIndex((candidate) => candidate.offset > at)
        waiting = kept === -1 ? [] : waiting.slice(kept)
      }
      return { start, cuts }
    }
  }
}
