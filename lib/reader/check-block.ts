import type { BlockDecoder } from '../compression/codecs.js'
import { CorruptError } from '../errors.js'
import { readFields } from '../format/bytes.js'
import {
  blockPrefixSize,
  checkFrame,
  decodeFrameHeader,
  frameHeaderSize,
  type FrameHeader
} from '../format/frame.js'
import { blake3 } from '../format/digest.js'

/** What is known of a block before it is read. Sizes and offsets in bytes. */
export interface BlockPlace {
  /** Of the whole frame, in the buffer it was read into. */
  readonly start: number
  readonly storedSize: number
  /** Of the frame, in the file: for messages. */
  readonly offset: number
  /** Where the chunk's plain bytes go, and how many they are. */
  readonly rawStart: number
  readonly rawSize: number
  /** Where the chunk starts in the block's plain bytes. */
  readonly innerOffset: number
  /** Plain bytes of the whole block, as the index says; absent where nothing tells them before the frame does. */
  readonly blockSize?: number | undefined
  /** What the index says of the chunk; absent when a frame is read without its index page. */
  readonly digest?: Uint8Array | undefined
}

/**
 * Plain bytes of a block, after every check of the frame: its chunks are still to be held against their digests.
 *
 * @param frame the whole block frame
 * @throws CorruptError BAD_CHECKSUM, BAD_STRUCTURE: before anything is decoded where the frame has another size
 */
export function checkBlockFrame(
  frame: Uint8Array,
  { offset, blockSize }: Pick<BlockPlace, 'offset' | 'blockSize'>,
  decode: BlockDecoder,
  where: string
): Uint8Array {
  if (frame.length < frameHeaderSize + blockPrefixSize)
    throw broken(where, offset, 'a block frame is too short')
  checkFrame(frame, where, offset)
  const header = decodeFrameHeader(frame, where, offset)
  if (header.type !== 'block' || frameHeaderSize + header.payloadSize !== frame.length) {
    const found = `expected a block frame of ${frame.length} bytes, found a ${header.type} frame`
    throw broken(where, offset, found)
  }
  if (blockSize !== undefined && header.rawSize !== blockSize)
    throw broken(
      where,
      offset,
      `the block there holds ${header.rawSize} bytes, not the ${blockSize} of the index`
    )
  return decodeAt(decode, header, frame.subarray(frameHeaderSize + blockPrefixSize), where, offset)
}

/**
 * Plain bytes of one chunk.
 *
 * @param block plain bytes of the block that holds it
 * @throws CorruptError BAD_STRUCTURE, BAD_DIGEST
 */
export function checkChunk(block: Uint8Array, place: BlockPlace, where: string): Uint8Array {
  const { offset } = place
  if (place.innerOffset + place.rawSize > block.length)
    throw broken(where, offset, 'a chunk reaches past the end of its block')
  const raw = block.subarray(place.innerOffset, place.innerOffset + place.rawSize)
  const digest = place.digest === undefined ? undefined : blake3(raw)
  if (place.digest !== undefined && digest !== undefined && Buffer.compare(digest, place.digest) !== 0) {
    throw new CorruptError(
      'BAD_DIGEST',
      `${where} is damaged at byte ${offset}: the block there does not hold the chunk that the index names`,
      {
        where,
        offset,
        expected: Buffer.from(place.digest).toString('hex'),
        found: digest.toString('hex')
      }
    )
  }
  return raw
}

function broken(where: string, offset: number, why: string): CorruptError {
  return new CorruptError('BAD_STRUCTURE', `${where} is damaged at byte ${offset}: ${why}`, { where, offset })
}

/** Offset in its stream of the chunk in a block frame. */
export function blockStreamOffset(frame: Uint8Array, where: string): number {
  return readFields(frame.subarray(frameHeaderSize, frameHeaderSize + blockPrefixSize), where).u64()
}

function decodeAt(
  decode: BlockDecoder,
  { codec, rawSize, usesDictionary }: FrameHeader,
  stored: Uint8Array,
  where: string,
  offset: number
): Uint8Array {
  try {
    return decode(codec, stored, rawSize, usesDictionary)
  } catch (cause) {
    if (!(cause instanceof CorruptError)) throw cause
    throw new CorruptError('BAD_STRUCTURE', `${where} is damaged at byte ${offset}: ${cause.message}`, {
      where,
      offset,
      cause
    })
  }
}
