import { LimitError } from '../errors.js'
import { decodeFrameHeader, frameHeaderSize, isFrameIntact, type FrameHeader } from '../format/frame.js'
import { memoryLimits } from '../limits.js'
import type { ByteSource } from './byte-source.js'

/** A frame whose checksum is right. */
export interface FoundFrame {
  readonly kind: 'frame'
  readonly offset: number
  readonly header: FrameHeader
  /** Header and payload. */
  readonly bytes: Uint8Array
  /** In the file: of the sealed frame where it was one. */
  readonly size: number
}

/** What a scan of damaged bytes finds, in file order; damage is bytes that are no intact frame. */
export type Found = FoundFrame | { readonly kind: 'damage'; readonly start: number; readonly end: number }

/**
 * Every intact frame between two offsets. Behind damage the next frame is looked for at every byte; its
 * checksum tells it from chance.
 *
 * @throws LimitError when so many false frames are met that the scan would take forever
 */
export async function* findFrames(
  source: ByteSource,
  start: number,
  end: number
): AsyncGenerator<Found, void> {
  const window = createWindow(source, end)
  let effort = (end - start) * memoryLimits.scanEffortMax + memoryLimits.runSize
  let damageStart: number | undefined
  for (let offset = start; offset < end;) {
    const header = await headerAt(window, source.name, offset, end, damageStart !== undefined)
    const size = frameHeaderSize + (header?.payloadSize ?? 0)
    if (header !== undefined && damageStart !== undefined) effort -= size
    if (effort < 0)
      throw new LimitError(`${source.name} is made of too many false frames to search`, {
        where: source.name,
        offset
      })
    const bytes = header === undefined ? undefined : await window(offset, size)
    if (header === undefined || bytes === undefined || !isFrameIntact(bytes)) {
      damageStart ??= offset
      offset += 1
      continue
    }
    if (damageStart !== undefined) yield { kind: 'damage', start: damageStart, end: offset }
    damageStart = undefined
    yield { kind: 'frame', offset, header, bytes, size }
    offset += size
  }
  if (damageStart !== undefined) yield { kind: 'damage', start: damageStart, end }
}

/**
 * A frame header that could be one, or `undefined`.
 *
 * @param isSearching behind damage, where most offsets start no frame
 */
async function headerAt(
  window: Window,
  where: string,
  offset: number,
  end: number,
  isSearching: boolean
): Promise<FrameHeader | undefined> {
  if (offset + frameHeaderSize > end) return undefined
  const bytes = await window(offset, frameHeaderSize)
  if (isSearching && !isPlausible(bytes)) return undefined
  try {
    const header = decodeFrameHeader(bytes, where, offset)
    return offset + frameHeaderSize + header.payloadSize <= end ? header : undefined
  } catch {
    return undefined // out of range: no frame starts here, and the search goes on
  }
}

/**
 * A cheap look that rejects nearly all offsets, before errors are made: type, codec and flags are small numbers.
 * A frame of an unknown type is not searched for: half of all bytes could be its type.
 */
function isPlausible(bytes: Uint8Array): boolean {
  const [type = 0, codec = 0, stream = 0, flags = 0] = bytes.subarray(4, 8)
  return type > 0 && type < 8 && codec < 3 && stream < 16 && flags < 2
}

type Window = (offset: number, size: number) => Promise<Uint8Array> | Uint8Array

/** Reads ahead a MiB at a time. */
function createWindow(source: ByteSource, end: number): Window {
  let held: Uint8Array = new Uint8Array(0)
  let heldOffset = 0
  return (offset, size) => {
    const at = offset - heldOffset
    if (at >= 0 && at + size <= held.length) return held.subarray(at, at + size)
    return source.read(offset, Math.min(Math.max(size, memoryLimits.runSize), end - offset)).then((bytes) => {
      held = bytes
      heldOffset = offset
      return bytes.subarray(0, size)
    })
  }
}
