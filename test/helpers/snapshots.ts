import {
  decodeFrameHeader,
  frameHeaderSize,
  isFrameIntact,
  type FrameHeader
} from '../../lib/format/frame.js'
import { footerSize } from '../../lib/format/footer.js'
import { decodeHeader, keySlotsSize, readHeaderSize } from '../../lib/format/header.js'
import type { ByteSource } from '../../lib/reader/byte-source.js'
import { piecesOf, type SnapshotRecord } from '../../lib/records.js'

/** The file that these records make; fails unless each lies where it says. */
export function fileOf(records: readonly SnapshotRecord[]): Buffer {
  let offset = 0
  const pieces: Uint8Array[] = []
  for (const record of records) {
    if (record.kind !== 'header' && record.offset !== offset)
      throw new Error(`a record says ${record.offset} and lies at ${offset}`)
    for (const piece of piecesOf(record)) {
      pieces.push(piece)
      offset += piece.length
    }
  }
  return Buffer.concat(pieces)
}

export interface FoundFrame extends FrameHeader {
  readonly offset: number
  /** Header and payload. */
  readonly size: number
  readonly payload: Buffer
}

/** All frames of a whole snapshot in memory, front to back; fails on anything else. */
export function framesOf(file: Buffer): FoundFrame[] {
  const headerSize = readHeaderSize(file.subarray(0, 16), 'the test file')
  const header = decodeHeader(file.subarray(0, headerSize), 'the test file')
  const frames: FoundFrame[] = []
  let offset = headerSize + keySlotsSize(header)
  while (offset < file.length - footerSize) {
    const frame = decodeFrameHeader(file.subarray(offset), 'the test file', offset)
    const size = frameHeaderSize + frame.payloadSize
    const bytes = file.subarray(offset, offset + size)
    if (!isFrameIntact(bytes)) throw new Error(`the frame at ${offset} is damaged`)
    frames.push({ ...frame, offset, size, payload: bytes.subarray(frameHeaderSize) })
    offset += size
  }
  return frames
}

/** Bytes in memory as a source that can be read anywhere; counts what is read. */
export interface MemorySource extends ByteSource {
  readonly reads: { offset: number; size: number }[]
  isClosed: boolean
}

export function memorySource(bytes: Uint8Array, name = 'x'): MemorySource {
  const source: MemorySource = {
    name,
    size: bytes.length,
    reads: [],
    isClosed: false,
    read(offset, size, into = new Uint8Array(size)) {
      if (offset < 0 || size < 0 || offset + size > bytes.length)
        return Promise.reject(new Error(`read of ${size} bytes at ${offset} of ${bytes.length}`))
      source.reads.push({ offset, size })
      into.set(bytes.subarray(offset, offset + size))
      return Promise.resolve(into)
    },
    close() {
      source.isClosed = true
      return Promise.resolve()
    }
  }
  return source
}
