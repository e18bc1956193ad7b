import { createBlockEncoder } from '../compression/codecs.js'
import {
  gainMin,
  gainOf,
  heldOutCountMin,
  isWorthIt,
  percent,
  pieceCountMin,
  rotationCount,
  segmentSizes,
  type DictionaryOutcome
} from '../compression/dictionary.js'
import { isFormatted } from '../compression/zstd-dictionary.js'
import { memoryLimits } from '../limits.js'
import type { Candidate, ScreenedSamples } from './dictionary-tasks.js'
import type { WorkerPool } from './pool.js'

/** Bytes out of a source, in shared memory. */
export interface SampledBytes {
  /** To train on, back to back; used as working space. */
  readonly training: Uint8Array
  /** Of each piece in it. */
  readonly sizes: readonly number[]
  /** To measure by: whole chunks. */
  readonly heldOut: readonly Uint8Array[]
  /** Bytes that the source has in all, as far as it is known. */
  readonly likelySize: number
}

export interface ChooseOptions {
  readonly pool: WorkerPool
  readonly level: number
  /** Bytes of the dictionary, at most. Default 110 KiB. */
  readonly size?: number
  /** Take the best one even where it does not pay. */
  readonly always?: boolean
}

/**
 * Trains a few dictionaries on the samples, takes the one under which held-out chunks are smallest, and says
 * whether it pays. The work is done on the pool; the outcome depends on the samples alone.
 *
 * Takes, beside the samples, as much again for what is listed of them, and 6 MiB and two prepared encoders a thread.
 */
export async function chooseDictionary(
  samples: SampledBytes,
  options: ChooseOptions
): Promise<DictionaryOutcome> {
  const { pool, level, size = memoryLimits.dictionarySizeDefault, always = false } = options
  const pieces = piecesOf(samples)
  if (pieces.length < pieceCountMin || samples.heldOut.length < heldOutCountMin)
    return none('there is too little to train it on')
  const screened = await pool.run('screenSamples', { pieces, heldOut: samples.heldOut, level })
  if (screened.pieces.length < pieceCountMin)
    return none('too little of the source compresses, or it repeats and is stored once anyway')
  if (screened.heldOut.length < heldOutCountMin) return none('there is too little to measure it by')

  const training = compact(
    samples.training,
    screened.pieces.map((i) => pieces[i] ?? new Uint8Array(0))
  )
  const { choosing, judging } = split(samples.heldOut, screened)
  const dmers = await pool.run('listSampleDmers', training)
  const { chunks } = choosing
  const trained = await Promise.all(
    segmentSizes
      .filter((segmentSize) => segmentSize <= size)
      .map((segmentSize) =>
        pool.run('trainCandidate', { samples: training, dmers, chunks, level, size, segmentSize })
      )
  )
  const first = smallest(trained)
  if (first === undefined) return none('nothing in the samples repeats')
  const isPromising = always || savedBy(first, choosing) >= gainMin / 2
  const rotated = await Promise.all(
    (isPromising ? rotations(first.bytes) : []).map((bytes) =>
      pool.run('measureCandidate', { bytes, chunks, level })
    )
  )
  const { bytes } = smallest([first, ...rotated]) ?? first

  const gain = savedBy(await pool.run('measureCandidate', { bytes, chunks: judging.chunks, level }), judging)
  const likelySize = samples.likelySize * screened.blockShare * (judging.plainSize / sizeOf(judging.chunks))
  const storedSize = (createBlockEncoder('zstd', 3)(bytes) ?? bytes).length
  if (!always && !isWorthIt(gain, storedSize, likelySize)) {
    const own = gainOf(likelySize, likelySize - storedSize)
    return none(
      `it would save ${percent(gain)} and take ${percent(own)} itself; ${percent(gainMin)} net is the least`
    )
  }
  return { kind: 'used', dictionary: { bytes, sampleCount: training.sizes.length, gain } }
}

interface Measured {
  readonly chunks: readonly Uint8Array[]
  /** Bytes that they take without a dictionary. */
  readonly plainSize: number
}

/** Every third chunk chooses among the candidates; the rest judges the chosen one, and has had no say in it. */
function split(
  heldOut: readonly Uint8Array[],
  screened: ScreenedSamples
): { choosing: Measured; judging: Measured } {
  const part = (isIn: (i: number) => boolean): Measured => ({
    chunks: screened.heldOut.flatMap((number, i) => (isIn(i) ? (heldOut[number] ?? []) : [])),
    plainSize: screened.plainSizes.reduce((sum, size, i) => sum + (isIn(i) ? size : 0), 0)
  })
  return { choosing: part((i) => i % 3 === 0), judging: part((i) => i % 3 !== 0) }
}

/** In 1/10,000. */
const savedBy = ({ storedSize }: Candidate, { plainSize }: Measured): number => gainOf(plainSize, storedSize)

const sizeOf = (chunks: readonly Uint8Array[]): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0)

/** The same bytes, each time with another part at the end; what Zstd would take for a format is left out. */
function rotations(bytes: Uint8Array): Uint8Array[] {
  return Array.from({ length: rotationCount - 1 }, (_, i) => {
    const at = Math.floor((bytes.length * (i + 1)) / rotationCount)
    return Buffer.concat([bytes.subarray(at), bytes.subarray(0, at)])
  }).filter((rotated) => !isFormatted(rotated))
}

const none = (reason: string): DictionaryOutcome => ({ kind: 'none', reason })

function piecesOf({ training, sizes }: SampledBytes): Uint8Array[] {
  let end = 0
  return sizes.map((size) => training.subarray(end, (end += size)))
}

/** The pieces moved together at the start of the memory that they lie in, in order. */
function compact(
  memory: Uint8Array,
  pieces: readonly Uint8Array[]
): { bytes: Uint8Array; sizes: Uint32Array } {
  let end = 0
  for (const piece of pieces) {
    memory.set(piece, end)
    end += piece.length
  }
  return { bytes: memory.subarray(0, end), sizes: Uint32Array.from(pieces, (piece) => piece.length) }
}

/** The first of those with the smallest result. */
function smallest(candidates: readonly Candidate[]): Candidate | undefined {
  let best: Candidate | undefined
  for (const candidate of candidates)
    if (candidate.storedSize < (best?.storedSize ?? Infinity)) best = candidate
  return best
}
