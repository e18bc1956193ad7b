import { readSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
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
import { becameShorter, sourceError } from '../source/source-error.js'
import { memoryLimits } from '../limits.js'
import { countOutput } from './collect.js'
import { digestChunks } from './digest-chunks.js'
import { countSamples, measureCandidate, screenSamples, trainCandidate } from './dictionary-tasks.js'
import { flattenError, type PlainError } from './messages.js'
import { decoderFor, encoderFor, type SharedDictionary } from './prepared.js'
import { digestRuns, measureChunks, scanBatch } from './survey-tasks.js'

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
  loadBlocks,
  screenSamples,
  countSamples,
  trainCandidate,
  measureCandidate,
  scanBatch,
  digestRuns,
  measureChunks
}
export type Tasks = typeof tasks

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
    countOutput(rawSize)
    if (usesDictionary && offset === 0) {
      const other = plain(raw)
      countOutput(rawSize)
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
async function decodeBlocks(args: DecodeBlocksArgs): Promise<void> {
  for (const block of args.blocks) {
    const raw = decodeBlock(args, block) // also where nobody wants the bytes: that checks them
    args.bytes?.set(raw, block.rawStart)
    await nextTurn()
  }
}

/**
 * The plain bytes of one chunk, decoded on the calling thread: the one place where a block is opened,
 * decoded and checked, whoever reads it.
 *
 * @returns memory of the codec or a part of `frames`; to be copied
 */
export function decodeBlock(
  { frames, where, sealing, dictionary }: Omit<DecodeBlocksArgs, 'blocks' | 'bytes'>,
  block: BlockPlace
): Uint8Array {
  const stored = frames.subarray(block.start, block.start + block.storedSize)
  const frame = sealing === undefined ? stored : openFrame(sealing, stored, where, block.offset)
  const raw = checkBlockFrame(frame, block, decoderFor(dictionary), where)
  countOutput(raw.length)
  return raw
}

/** Blocks that lie side by side in the file. */
export interface LoadGroup {
  readonly offset: number
  /** Of all frames together. */
  readonly storedSize: number
  /** The frames, where there is no file to read them from. */
  readonly frames?: Uint8Array | undefined
  readonly blocks: readonly BlockPlace[]
  /** Take the chunks. */
  readonly chunks: readonly Uint8Array[]
}

export interface LoadBlocksArgs extends Pick<DecodeBlocksArgs, 'where' | 'sealing' | 'dictionary'> {
  /** The file. */
  readonly fd?: number | undefined
  readonly groups: readonly LoadGroup[]
}

/**
 * Reads and decodes groups of blocks, each for a reader of its own: one that fails does no harm to the others.
 *
 * @returns the error of each group that has one
 */
async function loadBlocks({
  fd,
  groups,
  where,
  sealing,
  dictionary
}: LoadBlocksArgs): Promise<(PlainError | undefined)[]> {
  const errors: (PlainError | undefined)[] = []
  for (const { blocks, chunks, ...group } of groups) {
    try {
      const frames = group.frames ?? readFrames(fd, group, where)
      for (const [i, block] of blocks.entries()) {
        if (i > 0) await nextTurn()
        chunks[i]?.set(decodeBlock({ frames, where, sealing, dictionary }, block))
      }
      errors.push(undefined)
    } catch (error) {
      errors.push(flattenError(error))
    }
    await nextTurn()
  }
  return errors
}

/** What frames are read into, for as long as one group takes; larger ones get memory of their own. */
let scratch: Uint8Array | undefined

function readFrames(
  fd: number | undefined,
  { offset, storedSize }: Pick<LoadGroup, 'offset' | 'storedSize'>,
  where: string
): Uint8Array {
  if (fd === undefined) throw new Error('there is neither a file nor a frame')
  if (scratch === undefined && storedSize <= memoryLimits.batchSize)
    scratch = Buffer.allocUnsafeSlow(memoryLimits.batchSize)
  const frames = storedSize <= memoryLimits.batchSize ? scratch : Buffer.allocUnsafeSlow(storedSize)
  const into = (frames ?? Buffer.alloc(0)).subarray(0, storedSize)
  try {
    for (let filled = 0; filled < storedSize;) {
      const size = readSync(fd, into, filled, storedSize - filled, offset + filled)
      if (size === 0) throw becameShorter(where, offset)
      filled += size
    }
  } catch (error) {
    throw sourceError(error, where)
  }
  return into
}
