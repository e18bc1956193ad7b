import { firstFrom } from '../binary-search.js'
import type { BoundaryFinder } from './fixed.js'
import { gear } from './gear.js'
import { isZero } from './zero.js'

/** Bytes that the 32-bit rolling hash remembers: each step shifts one bit out. */
export const windowSize = 32
/** FastCDC's normalisation level 2: two more bits before the average size, two fewer after it. */
const normalisation = 2

export interface FastCdcOptions {
  /** Bytes; at least 512, at most `avg`. */
  readonly min: number
  /** Bytes; between `min` and `max`. */
  readonly avg: number
  readonly max: number
}

/**
 * FastCDC with normalised chunking: Xia et al., "FastCDC: a fast and efficient content-defined chunking
 * approach for data deduplication" (USENIX ATC 2016), section 3.4.
 *
 * The hash is warmed up over the 32 bytes before the first allowed cut, so that whether a position is a
 * cut depends on those bytes alone and never on where the chunk began. A cut is allowed when the top bits
 * of the hash are zero: log2(avg) + 2 of them before the average size, log2(avg) − 2 after it. The former
 * cuts are called strict; all of them are loose ones, too.
 */
export function createFastCdc(options: FastCdcOptions): BoundaryFinder {
  const masks = masksFor(options.avg)
  return (bytes, start, end, isLast) =>
    findBoundary(options, (from, to, kind) => findCut(bytes, from, to, masks[kind]), start, end, isLast)
}

/** Where cuts are, as offsets behind the last byte of the hash, rising. */
export interface Cuts {
  readonly strict: ArrayLike<number>
  readonly loose: ArrayLike<number>
}

/** The same boundaries, out of cuts that were found before, by `findCuts`. */
export function createCutChooser(
  options: FastCdcOptions
): (cuts: Cuts, start: number, end: number, isLast: boolean) => number {
  const first = (cuts: ArrayLike<number>, from: number, to: number): number => {
    const cut = cuts[firstFrom(cuts, from + 1)] ?? Infinity
    return cut <= to ? cut : -1
  }
  return (cuts, start, end, isLast) =>
    findBoundary(options, (from, to, kind) => first(cuts[kind], from, to), start, end, isLast)
}

type CutKind = 'strict' | 'loose'

/** @param search gives the first cut of a kind above `from` and up to `to`, or −1 */
function findBoundary(
  { min, avg, max }: FastCdcOptions,
  search: (from: number, to: number, kind: CutKind) => number,
  start: number,
  end: number,
  isLast: boolean
): number {
  const size = end - start
  if (size <= min) return isLast && size > 0 ? end : -1
  const limit = Math.min(end, start + max)
  const centre = Math.min(limit, start + avg)
  const strict = search(start + min, centre, 'strict')
  if (strict !== -1) return strict
  const loose = search(centre, limit, 'loose')
  if (loose !== -1) return loose
  return size >= max || isLast ? limit : -1
}

/**
 * The first cut behind a byte from `from` up to `to`, or −1. At least 32 bytes lie before `from`.
 *
 * One loop with everything in locals: through a helper or the import it runs at a quarter of the speed.
 */
function findCut(bytes: Uint8Array, from: number, to: number, mask: number): number {
  const table = gear
  let hash = 0
  for (let i = from - windowSize; i < to; i++) {
    // eslint-disable-next-line @typescript-eslint/no-non-null-assertion -- a byte's value, and an index below the length
    hash = ((hash << 1) + table[bytes[i]!]!) | 0
    if ((hash & mask) === 0 && i >= from) return i + 1
  }
  return -1
}

/** Hash of any 32 zero bytes: −G[0], as the sum of all its doublings is. */
const zeroHash = -(gear[0] ?? 0) | 0

/**
 * All cuts for an average size behind the bytes from `start` up to `end`, wherever chunks may begin: what can be
 * done for many pieces of a stream at the same time.
 *
 * @param bytes at least 32 lie before `start`; starts at a multiple of 4 in its memory, as does `start` in it
 */
export function findCuts(
  bytes: Uint8Array,
  start: number,
  end: number,
  avg: number
): { strict: Uint32Array; loose: Uint32Array } {
  const { strict: strictMask, loose: looseMask } = masksFor(avg)
  const loose: number[] = []
  const strict: number[] = []
  const found = (hash: number, cut: number): void => {
    loose.push(cut)
    if ((hash & strictMask) === 0) strict.push(cut)
  }
  const isQuiet = (zeroHash & looseMask) !== 0 && isZero(bytes.subarray(start - windowSize, end))
  if (!isQuiet) scan(bytes, start, end, looseMask, found)
  return { strict: Uint32Array.from(strict), loose: Uint32Array.from(loose) }
}

/** Calls `found` for each cut. Four bytes at a load: a third faster than one at a time. */
function scan(
  bytes: Uint8Array,
  start: number,
  end: number,
  mask: number,
  found: (hash: number, cut: number) => void
): void {
  const table = gear
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
  /* eslint-disable @typescript-eslint/no-non-null-assertion -- values of bytes, and indexes below the length */
  let hash = 0
  for (let i = start - windowSize; i < start; i++) hash = ((hash << 1) + table[bytes[i]!]!) | 0
  const wordEnd = end >> 2
  for (let i = start >> 2; i < wordEnd; i++) {
    const word = words[i]!
    const first = ((hash << 1) + table[word & 255]!) | 0
    const second = ((first << 1) + table[(word >>> 8) & 255]!) | 0
    const third = ((second << 1) + table[(word >>> 16) & 255]!) | 0
    hash = ((third << 1) + table[word >>> 24]!) | 0
    if ((first & mask) === 0) found(first, i * 4 + 1)
    if ((second & mask) === 0) found(second, i * 4 + 2)
    if ((third & mask) === 0) found(third, i * 4 + 3)
    if ((hash & mask) === 0) found(hash, i * 4 + 4)
  }
  for (let i = wordEnd * 4; i < end; i++) {
    hash = ((hash << 1) + table[bytes[i]!]!) | 0
    if ((hash & mask) === 0) found(hash, i + 1)
  }
  /* eslint-enable @typescript-eslint/no-non-null-assertion */
}

function masksFor(avg: number): Record<CutKind, number> {
  const bits = Math.round(Math.log2(avg))
  return { strict: topBits(bits + normalisation), loose: topBits(bits - normalisation) }
}

function topBits(count: number): number {
  return -(2 ** (32 - count)) | 0
}
