import { copyBytes } from '../format/bytes.js'

/**
 * Walks the block headers of a Zstd frame (RFC 8878, section 3.1.1) without decoding it, and states in its header how
 * much it may decode to, so that a hostile frame of a few kilobytes cannot make the decoder produce megabytes: the
 * bindings offer no limit, and Zstd itself keeps to the one that a frame states.
 */

const magic = 0xfd2fb528
const blockSizeMax = 128 * 1024
/** Encoders split blocks below 128 KiB where statistics change; no known one goes below 8 KiB on average. */
const blockSizeLeast = 8 * 1024

/** Parts of a frame's header. */
interface FrameStart {
  readonly windowSize: number
  readonly hasChecksum: boolean
  readonly dictionaryIdOffset: number
  readonly dictionaryIdSize: number
  /** Where the blocks start. */
  readonly blocksOffset: number
}

/** `undefined` for what is no frame, asks for a larger window, or states another size. */
function readStart(frame: Uint8Array, rawSize: number, windowSizeMax: number): FrameStart | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  if (frame.length < 6 || view.getUint32(0, true) !== magic) return undefined
  const descriptor = view.getUint8(4)
  if ((descriptor & 0x08) !== 0) return undefined // reserved: decoders refuse it
  const isSingleSegment = (descriptor & 0x20) !== 0
  const dictionaryIdSize = [0, 1, 2, 4][descriptor & 3] ?? 0
  const contentSizeSize = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0
  const window = view.getUint8(5)
  const base = 2 ** (10 + (window >> 3))
  const windowSize = isSingleSegment ? rawSize : base + (base / 8) * (window & 7)
  if (!isSingleSegment && windowSize > windowSizeMax) return undefined
  const dictionaryIdOffset = isSingleSegment ? 5 : 6
  const offset = dictionaryIdOffset + dictionaryIdSize
  const blocksOffset = offset + contentSizeSize
  if (blocksOffset > frame.length) return undefined
  if (contentSizeSize > 0 && readContentSize(view, offset, contentSizeSize) !== rawSize) return undefined
  return {
    windowSize,
    hasChecksum: (descriptor & 4) !== 0,
    dictionaryIdOffset,
    dictionaryIdSize,
    blocksOffset
  }
}

/**
 * Whether `frame` is one whole Zstd frame, no more, of as many blocks as `rawSize` bytes may take.
 *
 * @param windowSizeMax largest window that the frame may ask for
 */
export function isZstdFrameBounded(frame: Uint8Array, rawSize: number, windowSizeMax: number): boolean {
  return startOfBounded(frame, rawSize, windowSizeMax) !== undefined
}

function startOfBounded(frame: Uint8Array, rawSize: number, windowSizeMax: number): FrameStart | undefined {
  const start = readStart(frame, rawSize, windowSizeMax)
  if (start === undefined) return undefined
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  const end = walkBlocks(view, start, rawSize)
  return end !== undefined && end + (start.hasChecksum ? 4 : 0) === frame.length ? start : undefined
}

/**
 * The same frame with a header that states `rawSize`, in a single segment. Zstd then decodes into memory of that size
 * and refuses a byte more; of a frame that states no size it decodes whatever is in there.
 *
 * @param newMemory gives memory of that many bytes
 * @returns `undefined` where the frame is not bounded
 */
export function withStatedSize(
  frame: Uint8Array,
  rawSize: number,
  windowSizeMax: number,
  newMemory = (size: number): Buffer => Buffer.allocUnsafeSlow(size)
): Buffer | undefined {
  const start = startOfBounded(frame, rawSize, windowSizeMax)
  if (start === undefined) return undefined
  const { hasChecksum, dictionaryIdOffset, dictionaryIdSize, blocksOffset } = start
  const id = frame.subarray(dictionaryIdOffset, dictionaryIdOffset + dictionaryIdSize)
  const size = 5 + id.length + 4
  const stated = newMemory(size + frame.length - blocksOffset)
  stated.writeUInt32LE(magic, 0)
  stated[4] = 0x80 | 0x20 | (hasChecksum ? 4 : 0) | ((frame[4] ?? 0) & 3)
  stated.set(id, 5)
  stated.writeUInt32LE(rawSize, 5 + id.length)
  copyBytes(frame.subarray(blocksOffset), stated, size)
  return stated
}

function readContentSize(view: DataView, offset: number, size: number): number {
  if (size === 1) return view.getUint8(offset)
  if (size === 2) return view.getUint16(offset, true) + 256
  const low = view.getUint32(offset, true)
  return size === 4 ? low : low + view.getUint32(offset + 4, true) * 2 ** 32
}

/** Offset behind the last block, or `undefined` when the blocks are cut or too many. */
function walkBlocks(
  view: DataView,
  { blocksOffset, windowSize }: FrameStart,
  rawSize: number
): number | undefined {
  const blockCountMax = Math.ceil(rawSize / blockSizeLeast) + 2
  let plainSize = 0
  let offset = blocksOffset
  for (let count = 0; count < blockCountMax; count++) {
    if (offset + 3 > view.byteLength) return undefined
    const header = view.getUint16(offset, true) | (view.getUint8(offset + 2) << 16)
    const type = (header >> 1) & 3
    const size = header >> 3
    if (type === 3 || size > Math.min(blockSizeMax, windowSize, rawSize)) return undefined
    const isRunLength = type === 1
    if (type !== 2) plainSize += size
    if (plainSize > rawSize) return undefined
    offset += 3 + (isRunLength ? 1 : size)
    if ((header & 1) === 1) return offset <= view.byteLength ? offset : undefined
  }
  return undefined
}
