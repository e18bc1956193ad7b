import { setImmediate as nextTurn } from 'node:timers/promises'
import { findCandidates, type Candidates } from '../chunking/candidates.js'
import { sealFrame, type Sealing } from '../crypto/sealing.js'
import { copyBytes, writeFields } from '../format/bytes.js'
import {
  blockPrefixSize,
  frameHeaderSize,
  sealFrameHeader,
  sealOverhead,
  type CodecName
} from '../format/frame.js'
import { countOutput } from './collect.js'
import { decodeBlocks, loadBlocks, openFrames, writeBlocks } from './decode-tasks.js'
import { listSampleDmers, measureCandidate, screenSamples, trainCandidate } from './dictionary-tasks.js'
import { digestChunks } from './digest-chunks.js'
import { encoderFor, type SharedDictionary } from './prepared.js'
import { digestRuns, measureChunks, scanBatch } from './survey-tasks.js'

/**
 * The heavy work, a batch at a time, as functions of plain data and shared memory. They run in worker
 * threads, or inline where a stage is used without a pool; the result is the same.
 *
 * Between two codec calls they give the event loop a turn: the bindings hold on to their output buffers
 * until then, and a batch's worth of them in each thread is most of what a build would keep in memory.
 */
export const tasks = {
  findCuts,
  digestChunks,
  compressChunks,
  sealFrames,
  openFrames,
  decodeBlocks,
  loadBlocks,
  writeBlocks,
  screenSamples,
  listSampleDmers,
  trainCandidate,
  measureCandidate,
  scanBatch,
  digestRuns,
  measureChunks
}
export type Tasks = typeof tasks

export interface FindCutsArgs {
  readonly bytes: Uint8Array
  /** Where to begin; the 32 bytes before it count. */
  readonly start: number
  readonly levelMin: number
}

function findCuts({ bytes, start, levelMin }: FindCutsArgs): Promise<Candidates> {
  return Promise.resolve(findCandidates(bytes, start, levelMin))
}

export interface CompressChunksArgs {
  readonly bytes: Uint8Array
  /** Where each chunk starts in `bytes`, and its size. */
  readonly starts: Uint32Array
  readonly rawSizes: Uint32Array
  readonly stream: number
  /** Where `bytes` start in their stream. */
  readonly streamOffset: number
  readonly codec: CodecName
  readonly level: number
  /** For Zstd. */
  readonly dictionary?: SharedDictionary | undefined
  readonly usesDictionary: boolean
  /** Compress the first chunk with the dictionary and without, and keep what is smaller. */
  readonly isTrial: boolean
  /** Takes the block frames; must hold every chunk raw with its frame header. */
  readonly frames: Uint8Array
}

/**
 * Writes each chunk as a block frame into `frames`, back to back.
 *
 * @returns the frames' sizes, and the bytes that the dictionary saved in a trial; negative when it cost
 */
async function compressChunks(
  args: CompressChunksArgs
): Promise<{ storedSizes: number[]; savedSize: number }> {
  const { bytes, starts, rawSizes, stream, streamOffset, codec, level, dictionary, frames } = args
  const { usesDictionary, isTrial } = args
  const plain = encoderFor(codec, level)
  const withDictionary = dictionary === undefined ? plain : encoderFor(codec, level, dictionary)
  const encode = usesDictionary ? withDictionary : plain
  const storedSizes: number[] = []
  let savedSize = 0
  let offset = 0
  for (const [i, start] of starts.entries()) {
    const rawSize = rawSizes[i] ?? 0
    const raw = bytes.subarray(start, start + rawSize)
    let shrunk = encode(raw)
    let hasDictionary = usesDictionary && shrunk !== undefined
    countOutput(rawSize)
    if (isTrial && storedSizes.length === 0) {
      const other = usesDictionary ? plain(raw) : withDictionary(raw)
      countOutput(rawSize)
      const difference = (other ?? raw).length - (shrunk ?? raw).length
      savedSize = usesDictionary ? difference : -difference
      if (difference < 0) {
        shrunk = other
        hasDictionary = !usesDictionary
      }
    }
    const stored = shrunk ?? raw
    const payloadSize = blockPrefixSize + stored.length
    frames.set(
      writeFields(blockPrefixSize)
        .u64(streamOffset + start)
        .done(),
      offset + frameHeaderSize
    )
    copyBytes(stored, frames, offset + frameHeaderSize + blockPrefixSize)
    sealFrameHeader(frames, offset, payloadSize, {
      type: 'block',
      codec: shrunk === undefined ? 'raw' : codec,
      stream,
      usesDictionary: hasDictionary,
      rawSize
    })
    storedSizes.push(frameHeaderSize + payloadSize)
    offset += frameHeaderSize + payloadSize
    await nextTurn()
  }
  return { storedSizes, savedSize }
}

export interface SealFramesArgs {
  readonly sealing: Sealing
  /** Pieces of whole frames, back to back. */
  readonly frames: readonly Uint8Array[]
  /** Where the first sealed frame will lie in the file. */
  readonly offset: number
  /** Takes the sealed frames, back to back. */
  readonly target: Uint8Array
}

async function sealFrames({ sealing, frames, offset, target }: SealFramesArgs): Promise<void> {
  let sealedStart = 0
  for (const piece of frames) {
    const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength)
    for (let start = 0; start < piece.length;) {
      const size = frameHeaderSize + view.getUint32(start + 12, true)
      const sealed = target.subarray(sealedStart, sealedStart + size + sealOverhead)
      sealFrame(sealing, piece.subarray(start, start + size), offset + sealedStart, sealed)
      start += size
      sealedStart += sealed.length
    }
  }
  return Promise.resolve()
}
