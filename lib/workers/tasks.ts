import { blake3 } from '@napi-rs/blake-hash'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isZero } from '../chunking/zero.js'
import {
  createBlockDecoder,
  createBlockEncoder,
  type BlockDecoder,
  type BlockEncoder
} from '../compression/codecs.js'
import { writeFields } from '../format/bytes.js'
import { blockPrefixSize, frameHeaderSize, sealFrameHeader, type CodecName } from '../format/frame.js'
import { checkBlockFrame, type BlockPlace } from '../reader/check-block.js'

/**
 * The heavy work, a batch at a time, as functions of plain data and shared memory. They run in worker
 * threads, or inline where a stage is used without a pool; the result is the same.
 *
 * Between two codec calls they give the event loop a turn: the bindings hold on to their output buffers
 * until then, and a batch's worth of them in each thread is most of what a build would keep in memory.
 */
export const tasks = { digestChunks, compressChunks, decodeBlocks }
export type Tasks = typeof tasks

export const digestSize = 32

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
  frames
}: CompressChunksArgs): Promise<number[]> {
  const encode = encoderFor(codec, level)
  const sizes: number[] = []
  let offset = 0
  for (const [start, rawSize, streamOffset] of chunks) {
    const raw = bytes.subarray(start, start + rawSize)
    const shrunk = encode(raw)
    const stored = shrunk ?? raw
    const payloadSize = blockPrefixSize + stored.length
    frames.set(writeFields(blockPrefixSize).u64(streamOffset).done(), offset + frameHeaderSize)
    frames.set(stored, offset + frameHeaderSize + blockPrefixSize)
    sealFrameHeader(frames, offset, payloadSize, {
      type: 'block',
      codec: shrunk === undefined ? 'raw' : codec,
      stream,
      rawSize
    })
    sizes.push(frameHeaderSize + payloadSize)
    offset += frameHeaderSize + payloadSize
    await nextTurn()
  }
  return sizes
}

export interface DecodeBlocksArgs {
  /** Whole block frames. */
  readonly frames: Uint8Array
  readonly blocks: readonly BlockPlace[]
  /** Takes the chunks' plain bytes, each at its `rawStart`; without it they are only checked. */
  readonly bytes?: Uint8Array
  readonly where: string
}

/** Decodes block frames and checks checksum, sizes and digest of each. */
async function decodeBlocks({ frames, blocks, bytes, where }: DecodeBlocksArgs): Promise<void> {
  const decode = decoderFor()
  for (const block of blocks) {
    const raw = checkBlockFrame(
      frames.subarray(block.start, block.start + block.storedSize),
      block,
      decode,
      where
    )
    bytes?.set(raw, block.rawStart)
    await nextTurn()
  }
}

/** One prepared codec a thread, since preparing costs more than a block. */
let encoder: { readonly key: string; readonly encode: BlockEncoder } | undefined
let decoder: BlockDecoder | undefined

function encoderFor(codec: CodecName, level: number): BlockEncoder {
  const key = `${codec} ${level}`
  if (encoder?.key !== key) encoder = { key, encode: createBlockEncoder(codec, level) }
  return encoder.encode
}

function decoderFor(): BlockDecoder {
  return (decoder ??= createBlockDecoder())
}
