/**
 * Walks the block headers of a Zstd frame (RFC 8878, section 3.1.1) without decoding it, so that a
 * hostile frame of a few kilobytes cannot make the decoder produce gigabytes: the bindings offer no limit.
 */

const magic = 0xfd2fb528
const blockSizeMax = 128 * 1024
/** Encoders split blocks below 128 KiB where statistics change; no known one goes below 8 KiB on average. */
const blockSizeLeast = 8 * 1024

/**
 * Whether `frame` is one whole Zstd frame, no more, that can only decode to about `rawSize` bytes.
 *
 * @param windowSizeMax largest window that the frame may ask for
 */
export function isZstdFrameBounded(frame: Uint8Array, rawSize: number, windowSizeMax: number): boolean {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  if (frame.length < 6 || view.getUint32(0, true) !== magic) return false
  const descriptor = view.getUint8(4)
  const isSingleSegment = (descriptor & 0x20) !== 0
  const hasChecksum = (descriptor & 0x04) !== 0
  const dictionaryIdSize = [0, 1, 2, 4][descriptor & 3] ?? 0
  const contentSizeSize = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0
  let offset = 5
  if (!isSingleSegment) {
    const window = view.getUint8(offset)
    const base = 2 ** (10 + (window >> 3))
    if (base + (base / 8) * (window & 7) > windowSizeMax) return false
    offset += 1
  }
  offset += dictionaryIdSize
  if (offset + contentSizeSize > frame.length) return false
  if (contentSizeSize > 0 && readContentSize(view, offset, contentSizeSize) !== rawSize) return false
  offset += contentSizeSize
  const end = walkBlocks(view, offset, rawSize)
  return end !== undefined && end + (hasChecksum ? 4 : 0) === frame.length
}

function readContentSize(view: DataView, offset: number, size: number): number {
  if (size === 1) return view.getUint8(offset)
  if (size === 2) return view.getUint16(offset, true) + 256
  const low = view.getUint32(offset, true)
  return size === 4 ? low : low + view.getUint32(offset + 4, true) * 2 ** 32
}

/** Offset behind the last block, or `undefined` when the blocks are cut or too many. */
function walkBlocks(view: DataView, start: number, rawSize: number): number | undefined {
  const blockCountMax = Math.ceil(rawSize / blockSizeLeast) + 2
  let plainSize = 0
  let offset = start
  for (let count = 0; count < blockCountMax; count++) {
    if (offset + 3 > view.byteLength) return undefined
    const header = view.getUint16(offset, true) | (view.getUint8(offset + 2) << 16)
    const type = (header >> 1) & 3
    const size = header >> 3
    if (type === 3 || size > blockSizeMax) return undefined
    const isRunLength = type === 1
    if (type !== 2) plainSize += size
    if (plainSize > rawSize) return undefined
    offset += 3 + (isRunLength ? 1 : size)
    if ((header & 1) === 1) return offset <= view.byteLength ? offset : undefined
  }
  return undefined
}
