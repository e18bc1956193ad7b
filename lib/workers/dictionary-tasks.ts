import { setImmediate as nextTurn } from 'node:timers/promises'
import { isZero } from '../chunking/zero.js'
import { createBlockEncoder, type BlockEncoder } from '../compression/codecs.js'
import { denseShare } from '../compression/dictionary.js'
import { listDmers, trainDictionary, type Dmers, type Samples } from '../compression/fastcover.js'
import { blake3 } from '../format/digest.js'
import { countOutput } from './collect.js'
import { encoderFor } from './prepared.js'

export interface ScreenSamplesArgs {
  readonly pieces: readonly Uint8Array[]
  readonly heldOut: readonly Uint8Array[]
  readonly level: number
}

export interface ScreenedSamples {
  /** Numbers of the pieces to train on: no holes, none twice, none that does not compress. */
  readonly pieces: readonly number[]
  /** Numbers of the chunks to measure by: no holes, nothing that is trained on, none twice. */
  readonly heldOut: readonly number[]
  /** Bytes that each of those takes without a dictionary. */
  readonly plainSizes: readonly number[]
  /** Share of the pieces that will be stored as blocks, for all we know: neither holes nor repeats. */
  readonly blockShare: number
}

export async function screenSamples({ pieces, heldOut, level }: ScreenSamplesArgs): Promise<ScreenedSamples> {
  const encode = encoderFor('zstd', level)
  const seen = new Set<string>()
  const isNew = (bytes: Uint8Array): boolean => {
    const id = blake3(bytes).toString('base64')
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
    await nextTurn() // the bindings free their buffers then
  }
  const pieceSize = Math.max(1, ...pieces.map((piece) => piece.length))
  const keptChunks: number[] = []
  const plainSizes: number[] = []
  for (const [i, chunk] of heldOut.entries()) {
    if (isZero(chunk) || !cut(chunk, pieceSize).every((piece) => isZero(piece) || isNew(piece))) continue
    keptChunks.push(i)
    plainSizes.push(storedSize(encode, chunk))
    await nextTurn()
  }
  const blockShare = pieces.length === 0 ? 0 : blockCount / pieces.length
  return { pieces: kept, heldOut: keptChunks, plainSizes, blockShare }
}

/** For the candidates to start from. */
export function listSampleDmers(samples: Samples): Promise<Dmers> {
  return Promise.resolve(listDmers(samples))
}

export interface TrainCandidateArgs {
  readonly samples: Samples
  readonly dmers: Dmers
  readonly chunks: readonly Uint8Array[]
  readonly level: number
  /** Bytes of the dictionary, at most. */
  readonly size: number
  readonly segmentSize: number
}

export interface Candidate {
  readonly bytes: Uint8Array
  /** Bytes that the chunks take with it. */
  readonly storedSize: number
}

export function trainCandidate(args: TrainCandidateArgs): Promise<Candidate> {
  const { samples, chunks, level, ...options } = args
  return measureCandidate({ bytes: trainDictionary(samples, options), chunks, level })
}

export interface MeasureCandidateArgs {
  readonly bytes: Uint8Array
  readonly chunks: readonly Uint8Array[]
  readonly level: number
}

export async function measureCandidate({ bytes, chunks, level }: MeasureCandidateArgs): Promise<Candidate> {
  if (bytes.length === 0) return { bytes, storedSize: Infinity }
  const encode = createBlockEncoder('zstd', level, bytes)
  let total = 0
  for (const chunk of chunks) {
    total += storedSize(encode, chunk)
    await nextTurn()
  }
  return { bytes, storedSize: total }
}

function storedSize(encode: BlockEncoder, raw: Uint8Array): number {
  const size = (encode(raw) ?? raw).length
  countOutput(raw.length)
  return size
}

/** The bytes in pieces of `size`. */
function cut(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size)
  )
}
