import { setImmediate as nextTurn } from 'node:timers/promises'
import { isZero } from '../chunking/zero.js'
import { createBlockEncoder, type BlockEncoder } from '../compression/codecs.js'
import { denseShare, type PairSizes } from '../compression/dictionary.js'
import { countDmers, trainDictionary, type Samples } from '../compression/fastcover.js'
import { blake3 } from '../format/digest.js'
import { encoderFor } from './prepared.js'

/** Two adjacent chunks that are kept from the training. */
export type Pair = readonly [Uint8Array, Uint8Array]

export interface ScreenSamplesArgs {
  readonly pieces: readonly Uint8Array[]
  readonly pairs: readonly Pair[]
  readonly level: number
}

export interface ScreenedSamples {
  /** Numbers of the pieces to train on: no holes, none twice, none that does not compress. */
  readonly pieces: readonly number[]
  /** Numbers of the pairs to measure by: no holes, nothing that is trained on. */
  readonly pairs: readonly number[]
  /** What those take without a dictionary. */
  readonly plainSizes: PairSizes
  /** Share of the pieces that will be stored as blocks, for all we know: neither holes nor repeats. */
  readonly blockShare: number
}

export async function screenSamples({ pieces, pairs, level }: ScreenSamplesArgs): Promise<ScreenedSamples> {
  const encode = encoderFor('zstd', level)
  const seen = new Set<string>()
  const idOf = (bytes: Uint8Array): string => blake3(bytes).toString('base64')
  const isNew = (bytes: Uint8Array): boolean => {
    const id = idOf(bytes)
    if (seen.has(id)) return false
    seen.add(id)
    return true
  }
  const kept: number[] = []
  let blockCount = 0
  for (const [i, piece] of pieces.entries()) {
    if (isZero(piece) || !isNew(piece)) continue
    blockCount += 1
    if (storedSize(encode, piece) < piece.length * denseShare) kept.push(i)
    await nextTurn()
  }
  const pieceSize = Math.max(1, ...pieces.map((piece) => piece.length))
  const keptPairs: number[] = []
  const plainSizes: [number, number][] = []
  for (const [i, pair] of pairs.entries()) {
    const isBlock = pair.every(
      (chunk) => !isZero(chunk) && cut(chunk, pieceSize).every((piece) => isZero(piece) || isNew(piece))
    )
    if (!isBlock) continue
    keptPairs.push(i)
    plainSizes.push(await sizesOf(encode, pair))
  }
  const blockShare = pieces.length === 0 ? 0 : blockCount / pieces.length
  return { pieces: kept, pairs: keptPairs, plainSizes, blockShare }
}

/** In shared memory, for the candidates to start from. */
export function countSamples(samples: Samples): Promise<Uint16Array> {
  const counts = countDmers(samples)
  const shared = new Uint16Array(new SharedArrayBuffer(counts.byteLength))
  shared.set(counts)
  return Promise.resolve(shared)
}

export interface TrainCandidateArgs {
  readonly samples: Samples
  readonly counts: Uint16Array
  readonly pairs: readonly Pair[]
  readonly level: number
  /** Bytes of the dictionary, at most. */
  readonly size: number
  readonly segmentSize: number
}

export interface Candidate {
  readonly bytes: Uint8Array
  /** What the pairs take with it. */
  readonly sizes: PairSizes
}

export function trainCandidate(args: TrainCandidateArgs): Promise<Candidate> {
  const { samples, pairs, level, ...options } = args
  return measureCandidate({ bytes: trainDictionary(samples, options), pairs, level })
}

export interface MeasureCandidateArgs {
  readonly bytes: Uint8Array
  readonly pairs: readonly Pair[]
  readonly level: number
}

export async function measureCandidate({ bytes, pairs, level }: MeasureCandidateArgs): Promise<Candidate> {
  if (bytes.length === 0) return { bytes, sizes: [] }
  const encode = createBlockEncoder('zstd', level, bytes)
  const sizes: [number, number][] = []
  for (const pair of pairs) sizes.push(await sizesOf(encode, pair))
  return { bytes, sizes }
}

const storedSize = (encode: BlockEncoder, raw: Uint8Array): number => (encode(raw) ?? raw).length

async function sizesOf(encode: BlockEncoder, [first, second]: Pair): Promise<[number, number]> {
  const firstSize = storedSize(encode, first)
  await nextTurn() // the bindings free their buffers then
  return [firstSize, storedSize(encode, second)]
}

/** The bytes in pieces of `size`. */
function cut(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size)
  )
}
