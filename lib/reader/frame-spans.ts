import type { Sealing } from '../crypto/sealing.js'
import { CorruptError, UnsupportedError } from '../errors.js'
import {
  checkFrame,
  decodeFrameHeader,
  frameHeaderSize,
  sealOverhead,
  type FrameHeader
} from '../format/frame.js'
import { formatLimits, memoryLimits } from '../limits.js'
import type { WorkerPool } from '../workers/pool.js'
import type { SlabPool } from '../workers/slabs.js'
import { readInto, type ByteSource } from './byte-source.js'

/** A frame in a span. */
export interface PlacedFrame {
  readonly header: FrameHeader
  /** In the span's bytes. */
  readonly start: number
  /** Header and payload. */
  readonly size: number
  /** The same, but of the sealed frame where it was one. */
  readonly storedSize: number
  /** In the file. */
  readonly offset: number
}

/** Whole frames that were read together. */
export interface FrameSpan {
  readonly bytes: Uint8Array
  readonly frames: readonly PlacedFrame[]
  readonly release: () => void
}

/**
 * The frames between two offsets, in file order, about 1 MiB at a time. Only their headers are looked at.
 *
 * @throws CorruptError BAD_STRUCTURE when the frames do not end exactly at `end`
 */
export async function* frameSpans(
  source: ByteSource,
  start: number,
  end: number,
  slabs: SlabPool
): AsyncGenerator<FrameSpan, void> {
  let wanted: number = memoryLimits.runSize
  for (let offset = start; offset < end;) {
    const size = Math.min(wanted, end - offset)
    const slab = slabs.acquire(size)
    await readInto(source, offset, slab.bytes)
    const frames: PlacedFrame[] = []
    let used = 0
    wanted = memoryLimits.runSize
    while (used + frameHeaderSize <= size && frames.length < memoryLimits.spanFrameCountMax) {
      const at = offset + used
      const header = await headerAt(source, slab.bytes.subarray(used, used + frameHeaderSize), at, end)
      const frameSize = frameHeaderSize + header.payloadSize
      if (offset + used + frameSize > end) throw overrun(source.name, offset + used)
      if (used + frameSize > size) {
        wanted = Math.max(wanted, frameSize)
        break
      }
      frames.push({ header, start: used, size: frameSize, storedSize: frameSize, offset: offset + used })
      used += frameSize
    }
    if (used === 0 && offset + size === end && size < frameHeaderSize) throw overrun(source.name, offset)
    // Of many small frames not much more is read than is used.
    if (frames.length === memoryLimits.spanFrameCountMax) wanted = Math.max(2 * used, frameHeaderSize)
    offset += used
    if (frames.length > 0) yield { bytes: slab.bytes, frames, release: slab.release }
    else slab.release()
  }
}

/** A kind of frame that is not known may as well be damage: its size and its checksum tell, and are told first. */
async function headerAt(
  source: ByteSource,
  bytes: Uint8Array,
  offset: number,
  end: number
): Promise<FrameHeader> {
  try {
    return decodeFrameHeader(bytes, source.name, offset)
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error
    const payloadSize = new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, true)
    const size = frameHeaderSize + payloadSize
    if (size > formatLimits.rootRawSizeMax || offset + size > end) throw overrun(source.name, offset)
    checkFrame(await source.read(offset, size), source.name, offset)
    throw error
  }
}

/** A span of sealed frames as the frames inside them. */
export async function openSpan(
  span: FrameSpan,
  sealing: Sealing,
  pool: WorkerPool,
  slabs: SlabPool,
  where: string
): Promise<FrameSpan> {
  for (const { header, offset } of span.frames) {
    if (header.type !== 'sealed')
      throw new CorruptError(
        'BAD_STRUCTURE',
        `${where} is damaged at byte ${offset}: a frame there is not encrypted`,
        { where, offset }
      )
  }
  const slab = slabs.acquire(span.frames.reduce((sum, frame) => sum + frame.size - sealOverhead, 0))
  const places = span.frames.map(({ start, size, offset }) => [start, size, offset] as const)
  await pool.run('openFrames', { sealing, bytes: span.bytes, frames: places, target: slab.bytes, where })
  let start = 0
  const frames = span.frames.map(({ offset, storedSize }): PlacedFrame => {
    const size = storedSize - sealOverhead
    const header = decodeFrameHeader(slab.bytes.subarray(start, start + frameHeaderSize), where, offset)
    if (frameHeaderSize + header.payloadSize !== size) throw overrun(where, offset)
    start += size
    return { header, start: start - size, size, storedSize, offset }
  })
  span.release()
  return { bytes: slab.bytes, frames, release: slab.release }
}

function overrun(where: string, offset: number): CorruptError {
  return new CorruptError(
    'BAD_STRUCTURE',
    `${where} is damaged at byte ${offset}: the frame there does not end where the next structure begins`,
    { where, offset }
  )
}
