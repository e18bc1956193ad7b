import { UsageError } from '../errors.js'
import { formatLimits } from '../limits.js'
import { isFormatted, isFormattedIntact } from './zstd-dictionary.js'

/** When a dictionary is used: where it pays, wherever one can be trained, never, or this one. */
export type DictionaryMode = 'auto' | 'always' | 'off' | Uint8Array

/** A dictionary and what is known of it. */
export interface Dictionary {
  readonly bytes: Uint8Array
  /** Pieces it was trained on; 0 when it came from outside. */
  readonly sampleCount: number
  /** What it saved on held-out chunks, in 1/10,000 of their compressed size; negative when it cost. */
  readonly gain: number
}

/** What became of the question whether to use a dictionary. */
export type DictionaryOutcome =
  | { readonly kind: 'used'; readonly dictionary: Dictionary }
  | { readonly kind: 'none'; readonly reason: string }

/** A dictionary is used where it saves at least this, in 1/10,000, its own size counted against it. */
export const gainMin = 100

/** Segment sizes that are tried; which is best depends on the data. */
export const segmentSizes: readonly number[] = [2048, 12288, 20480]

/**
 * Of the best one, so many rotations are tried: what stands at the end is found first and longest, and which part
 * should stand there only a trial tells.
 */
export const rotationCount = 4

/** Fewer samples say nothing about the rest. */
export const pieceCountMin = 64
export const heldOutCountMin = 8

/** A piece that compresses to more than this share of itself is not worth learning. */
export const denseShare = 0.95

/** In 1/10,000 of `before`. */
export function gainOf(before: number, after: number): number {
  return before === 0 ? 0 : Math.round(((before - after) / before) * 10000)
}

/**
 * Whether a dictionary is worth its own size.
 *
 * @param gain on held-out chunks, in 1/10,000
 * @param storedSize bytes that it takes in the file
 * @param likelySize bytes that the blocks will take without it, by what is known
 */
export function isWorthIt(gain: number, storedSize: number, likelySize: number): boolean {
  return gain - (storedSize / likelySize) * 10000 >= gainMin
}

/** Gains as people read them: `1.25 %`. */
export const percent = (gain: number): string => `${(gain / 100).toFixed(2)} %`

const sizeMin = 8

/**
 * Takes bytes from outside for a dictionary: raw content, or one in Zstandard's format.
 *
 * @param name of the file, for messages
 * @throws UsageError unless it is of a size that can be used, and intact where it has a format
 */
export function checkDictionary(bytes: Uint8Array, name: string): Dictionary {
  const { dictionarySizeMax } = formatLimits
  if (bytes.length < sizeMin || bytes.length > dictionarySizeMax) {
    throw new UsageError(
      `${name} has ${bytes.length} bytes; a dictionary has ${sizeMin} to ${dictionarySizeMax} (1 MiB)`
    )
  }
  if (isFormatted(bytes) && !isFormattedIntact(bytes))
    throw new UsageError(`${name} is a damaged Zstandard dictionary`)
  return { bytes, sampleCount: 0, gain: 0 }
}
