import { setImmediate as nextTurn } from 'node:timers/promises'
import { isZero } from '../chunking/zero.js'
import { openFrame, sealFrame, type Sealing } from '../crypto/sealing.js'
import { writeFields } from '../format/bytes.js'
import {
  blockPrefixSize,
  frameHeaderSize,
  sealFrameHeader,
  sealOverhead,
  type CodecName
} from '../format/frame.js'
import { checkBlockFrame, type BlockPlace } from '../reader/check-block.js'
import { blake3, digestSize } from '../format/digest.js'
import { countSamples, measureCandidate, screenSamples, trainCandidate } from './dictionary-tasks.js'
import { decoderFor, encoderFor, type SharedDictionary } from './prepared.js'

/**
 * The heavy work, a batch at a time, as functions of plain data and shared memory. They run in worker
 * threads, or inline where a stage is used without a pool; the result is the same.
 *
 * Between two codec calls they give the event loop a turn: the bindings hold on to their output buffers
 * until then, and a batch's worth of them in each thread is most of what a build would keep in memory.
 */
export const tasks = {
  digestChunks,
  compressChunks,
  sealFrames,
  openFrames,
  decodeBlocks,
  screenSamples,
  countSamples,
  trainCandidate,
  measureCandidate
}
export type Tasks = typeof tasks

export interface DigestChunksArgs {
  readonly bytes: Uint8Array
  readonly sizes: Uint32Array
}

/** Digest of each chunk, back to back; zeros for a chunk of zeros, which needs none. */
async function digestChunks({
  bytes,
  sizes
}: DigestChunksArgs): Promise<{ digests: Uint8Array; isHole: boolean[] }> {
  const digests = new Uint8Array(sizes.length * digestSize)
  const isHole: boolean[] = []
  let start = 0
  sizes.forEach((size, i) => {
    const chunk = bytes.subarray(start, start + size)
    const hole = isZero(chunk)
    isHole.push(hole)
    if (!hole) digests.set(blake3(chunk), i * digestSize)
    start += size
  })
  return Promise.resolve({ digests, isHole })
}

export interface CompressChunksArgs {
  readonly bytes: Uint8Array
  /** Of each chunk: start in `bytes`, raw size, offset in its stream. */
  readonly chunks: readonly (readonly [start: number, rawSize: number, streamOffset: number])[]
  readonly stream: number
  readonly codec: CodecName
  readonly level: number
  /** For Zstd: tried on the first chunk, and used for all of them when it makes that one smaller. */
  readonly dictionary?: SharedDictionary | undefined
  /** Takes the block frames; must hold every chunk raw with its frame header. */
  readonly frames: Uint8Array
}

/** Writes each chunk as a block frame into `frames`, back to back, and gives the frames' sizes. */
async function compressChunks({
  bytes,
  chunks,
  stream,
  codec,
  level,
  dictionary,
  frames
}: CompressChunksArgs): Promise<number[]> {
  const plain = encoderFor(codec, level)
  const encode = dictionary === undefined ? plain : encoderFor(codec, level, dictionary)
  let usesDictionary = dictionary !== undefined
  const sizes: number[] = []
  let offset = 0
  for (const [start, rawSize, streamOffset] of chunks) {
    const raw = bytes.subarray(start, start + rawSize)
    let shrunk = usesDictionary ? encode(raw) : plain(raw)
    if (usesDictionary && offset === 0) {
      const other = plain(raw)
      usesDictionary = shrunk !== undefined && shrunk.length < (other ?? raw).length
      if (!usesDictionary) shrunk = other
    }
    const stored = shrunk ?? raw
    const payloadSize = blockPrefixSize + stored.length
    frames.set(writeFields(blockPrefixSize).u64(streamOffset).done(), offset + frameHeaderSize)
    frames.set(stored, offset + frameHeaderSize + blockPrefixSize)
    sealFrameHeader(frames, offset, payloadSize, {
      type: 'block',
      codec: shrunk === undefined ? 'raw' : codec,
      stream,
      usesDictionary: usesDictionary && shrunk !== undefined,
      rawSize
    })
    sizes.push(frameHeaderSize + payloadSize)
    offset += frameHeaderSize + payloadSize
    await nextTurn()
  }
  return sizes
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

export interface OpenFramesArgs {
  readonly sealing: Sealing
  readonly bytes: Uint8Array
  /** Of each sealed frame: start in `bytes`, size, offset in the file. */
  readonly frames: readonly (readonly [start: number, size: number, offset: number])[]
  /** Takes the opened frames, back to back. */
  readonly target: Uint8Array
  readonly where: string
}

/** @throws CorruptError */
async function openFrames({ sealing, bytes, frames, target, where }: OpenFramesArgs): Promise<void> {
  let openStart = 0
  for (const [start, size, offset] of frames) {
    const frame = openFrame(sealing, bytes.subarray(start, start + size), where, offset)
    target.set(frame, openStart)
    openStart += frame.length
  }
  return Promise.resolve()
}

export interface DecodeBlocksArgs {
  /** Whole block frames, sealed when `sealing` is there. */
  readonly frames: Uint8Array
  readonly blocks: readonly BlockPlace[]
  /** Takes the chunks' plain bytes, each at its `rawStart`; without it they are only checked. */
  readonly bytes?: Uint8Array
  readonly where: string
  readonly sealing?: Sealing | undefined
  /** What blocks that are flagged for it need. */
  readonly dictionary?: SharedDictionary | undefined
}

/** Decodes block frames and checks checksum, sizes and digest of each. */
async function decodeBlocks({
  frames,
  blocks,
  bytes,
  where,
  sealing,
  dictionary
}: DecodeBlocksArgs): Promise<void> {
  const decode = decoderFor(dictionary)
  for (const block of blocks) {
    const stored = frames.subarray(block.start, block.start + block.storedSize)
    const frame = sealing === undefined ? stored : openFrame(sealing, stored, where, block.offset)
    const raw = checkBlockFrame(frame, block, decode, where)
    bytes?.set(raw, block.rawStart)
    await nextTurn()
  }
}
