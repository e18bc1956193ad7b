import { crc32 } from 'node:zlib'
import { CorruptError, UnsupportedError } from '../errors.js'
import { formatLimits as limits } from '../limits.js'
import { readFields, writeFields } from './bytes.js'

/*
 * Frame: a header of 16 bytes and a payload.
 *
 *  0  checksum    u32  CRC-32 of all that follows, payload included
 *  4  type        u8
 *  5  codec       u8   0 raw, 1 LZ4 block, 2 Zstd frame
 *  6  stream      u8   number of the stream, in the header's order
 *  7  flags       u8   bit 0: the block needs the dictionary
 *  8  rawSize     u32  plain bytes that the frame stands for (0 where the payload tells)
 * 12  payloadSize u32
 *
 * Payloads:
 *  dictionary  the dictionary, in the frame's codec
 *  block       u64 offset of the chunk in its stream, then the chunk in the frame's codec
 *  repeat      u48 offset of a block frame, once for each chunk; rawSize is the chunks' sum
 *  hole        u64 size of the run of zeros
 *  page, root  see index-page.ts and index-root.ts, in the frame's codec
 *  sealed      another frame, whole, under AES-256-GCM: ciphertext, then a tag of 16 bytes
 */

export const frameHeaderSize = 16
export const blockPrefixSize = 8
export const repeatItemSize = 6
export const sealOverhead = frameHeaderSize + 16

export const frameTypes = {
  dictionary: 1,
  block: 2,
  repeat: 3,
  hole: 4,
  page: 5,
  root: 6,
  sealed: 7
} as const
export type FrameTypeName = keyof typeof frameTypes
const typeNames = new Map<number, FrameTypeName>(
  Object.entries(frameTypes).map(([name, type]) => [type, name as FrameTypeName])
)
/** A frame of a type from here up may be skipped by a reader that does not know it. */
export const skippableTypeMin = 0x80

export const codecNames = ['raw', 'lz4', 'zstd'] as const
export type CodecName = (typeof codecNames)[number]
export const frameFlags = { dictionary: 1 } as const

/** A frame's header in the clear. Sizes in bytes. */
export interface FrameHeader {
  /** `skip` is a type this version does not know and may pass over. */
  readonly type: FrameTypeName | 'skip'
  readonly codec: CodecName
  readonly stream: number
  readonly usesDictionary: boolean
  readonly rawSize: number
  readonly payloadSize: number
}

/** Largest payload of each type; a header that claims more is damaged. */
const payloadSizeMax: Record<FrameTypeName | 'skip', number> = {
  dictionary: limits.dictionarySizeMax,
  block: blockPrefixSize + limits.chunkSizeMax,
  repeat: limits.repeatCountMax * repeatItemSize,
  hole: 8,
  page: limits.pageRawSizeMax,
  root: limits.rootRawSizeMax,
  sealed: limits.rootRawSizeMax + sealOverhead,
  skip: limits.rootRawSizeMax
}

/** Largest plain size of each type: the bound on what decoding may allocate. */
const rawSizeMax: Record<FrameTypeName | 'skip', number> = {
  dictionary: limits.dictionarySizeMax,
  block: limits.chunkSizeMax,
  repeat: 2 ** 32 - 1,
  hole: 0,
  page: limits.pageRawSizeMax,
  root: limits.rootRawSizeMax,
  sealed: 0,
  skip: 2 ** 32 - 1
}

export interface FrameFields {
  readonly type: FrameTypeName
  readonly codec?: CodecName
  readonly stream?: number
  readonly usesDictionary?: boolean
  readonly rawSize?: number
}

/**
 * Writes the header in front of a payload that already lies at `offset + 16`, and the checksum over both.
 * In place, because the payload is the bulk of a snapshot and is not worth copying.
 */
export function sealFrameHeader(
  target: Uint8Array,
  offset: number,
  payloadSize: number,
  fields: FrameFields
): void {
  const view = new DataView(target.buffer, target.byteOffset + offset, frameHeaderSize)
  view.setUint8(4, frameTypes[fields.type])
  view.setUint8(5, codecNames.indexOf(fields.codec ?? 'raw'))
  view.setUint8(6, fields.stream ?? 0)
  view.setUint8(7, fields.usesDictionary === true ? frameFlags.dictionary : 0)
  view.setUint32(8, fields.rawSize ?? 0, true)
  view.setUint32(12, payloadSize, true)
  view.setUint32(0, crc32(target.subarray(offset + 4, offset + frameHeaderSize + payloadSize)), true)
}

/** A whole frame around a small payload, which is copied. */
export function encodeFrame(payload: Uint8Array, fields: FrameFields): Uint8Array {
  const frame = new Uint8Array(frameHeaderSize + payload.length)
  frame.set(payload, frameHeaderSize)
  sealFrameHeader(frame, 0, payload.length, fields)
  return frame
}

/**
 * @param where names the snapshot; `offset` is where in it the frame lies
 * @throws CorruptError BAD_STRUCTURE when a field is out of its range; UnsupportedError for an unknown type or codec
 */
export function decodeFrameHeader(bytes: Uint8Array, where: string, offset: number): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, frameHeaderSize)
  const typeNumber = view.getUint8(4)
  const isSkippable = typeNumber >= skippableTypeMin
  const type = isSkippable ? 'skip' : typeNames.get(typeNumber)
  // What a type from a later version keeps in these two is its own business.
  const codec = isSkippable ? 'raw' : codecNames[view.getUint8(5)]
  const flags = isSkippable ? 0 : view.getUint8(7)
  if (type === undefined || codec === undefined || (flags & ~frameFlags.dictionary) !== 0) {
    throw new UnsupportedError(
      'UNKNOWN_FEATURE',
      `${where} has a frame of an unknown kind at byte ${offset}: it is damaged, or was made by a newer hexz`,
      {
        where,
        offset,
        found: typeNumber
      }
    )
  }
  const usesDictionary = flags === frameFlags.dictionary
  if (usesDictionary && (type !== 'block' || codec !== 'zstd')) {
    throw new CorruptError(
      'BAD_STRUCTURE',
      `${where} is damaged at byte ${offset}: a ${codec} ${type} cannot need a dictionary`,
      { where, offset }
    )
  }
  const rawSize = view.getUint32(8, true)
  const payloadSize = view.getUint32(12, true)
  const isEmptyBlock = type === 'block' && (rawSize === 0 || payloadSize <= blockPrefixSize)
  if (payloadSize > payloadSizeMax[type] || rawSize > rawSizeMax[type] || isEmptyBlock) {
    throw new CorruptError(
      'BAD_STRUCTURE',
      `${where} is damaged at byte ${offset}: a ${type} frame claims ${Math.max(payloadSize, rawSize)} bytes`,
      {
        where,
        offset,
        found: payloadSize
      }
    )
  }
  return {
    type,
    codec,
    stream: view.getUint8(6),
    usesDictionary,
    rawSize,
    payloadSize
  }
}

/** How many whole frames lie back to back in a piece that we made ourselves. */
export function countFrames(piece: Uint8Array): number {
  const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength)
  let count = 0
  for (let offset = 0; offset < piece.length; count++)
    offset += frameHeaderSize + view.getUint32(offset + 12, true)
  return count
}

/** Whether a whole frame's checksum is right. */
export function isFrameIntact(frame: Uint8Array): boolean {
  const expected = new DataView(frame.buffer, frame.byteOffset, 4).getUint32(0, true)
  return crc32(frame.subarray(4)) === expected
}

/** @throws CorruptError BAD_CHECKSUM */
export function checkFrame(frame: Uint8Array, where: string, offset: number, what = 'frame'): void {
  if (isFrameIntact(frame)) return
  throw new CorruptError(
    'BAD_CHECKSUM',
    `${where} is damaged at byte ${offset}: the checksum of the ${what} there is wrong`,
    { where, offset }
  )
}

/** Frame of a run of zeros of `size` bytes. */
export function encodeHoleFrame(stream: number, size: number): Uint8Array {
  return encodeFrame(writeFields(8).u64(size).done(), { type: 'hole', stream })
}

/** @throws CorruptError BAD_STRUCTURE */
export function decodeHolePayload(payload: Uint8Array, where: string): number {
  const fields = readFields(payload, where)
  const size = fields.u64()
  fields.end()
  if (size === 0)
    throw new CorruptError('BAD_STRUCTURE', `${where} is damaged: a hole in it is empty`, { where })
  return size
}

/** Frame of adjacent chunks that are stored already. `rawSize` is the sum of their sizes. */
export function encodeRepeatFrame(
  stream: number,
  rawSize: number,
  blockOffsets: readonly number[]
): Uint8Array {
  const fields = writeFields(blockOffsets.length * repeatItemSize)
  for (const offset of blockOffsets) fields.u48(offset)
  return encodeFrame(fields.done(), { type: 'repeat', stream, rawSize })
}

/** @throws CorruptError BAD_STRUCTURE */
export function decodeRepeatPayload(payload: Uint8Array, where: string): number[] {
  const fields = readFields(payload, where)
  const blockOffsets: number[] = []
  if (payload.length === 0)
    throw new CorruptError('BAD_STRUCTURE', `${where} is damaged: a repeat frame in it names no block`, {
      where
    })
  while (fields.offset < payload.length) blockOffsets.push(fields.u48())
  return blockOffsets
}
