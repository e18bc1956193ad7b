import { isUtf8 } from 'node:buffer'
import { CorruptError, LimitError } from '../errors.js'

/** Reads little-endian fields one after another and never past the end. */
export interface FieldReader {
  readonly offset: number
  u8(): number
  u16(): number
  i32(): number
  u32(): number
  u48(): number
  /** A 64-bit unsigned integer; more than 2^53 − 1 is a CorruptError, since no real size reaches it. */
  u64(): number
  /** A view, not a copy. */
  bytes(size: number): Uint8Array
  /** Text in UTF-8; other bytes are a CorruptError, so that two that differ never read alike. */
  text(size: number): string
  /** Fails unless everything was read. */
  end(): void
}

/**
 * @param where names the structure in errors
 * @throws CorruptError BAD_STRUCTURE when a field lies outside `bytes`
 */
export function readFields(bytes: Uint8Array, where: string): FieldReader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let offset = 0
  const broken = (expected: string, found: string): never => {
    throw new CorruptError('BAD_STRUCTURE', `${where} is damaged: expected ${expected}, found ${found}`, {
      where,
      offset
    })
  }
  const take = (size: number): number => {
    if (size > bytes.byteLength - offset) broken(`${size} more bytes`, `${bytes.byteLength - offset}`)
    offset += size
    return offset - size
  }
  return {
    get offset() {
      return offset
    },
    u8: () => view.getUint8(take(1)),
    u16: () => view.getUint16(take(2), true),
    i32: () => view.getInt32(take(4), true),
    u32: () => view.getUint32(take(4), true),
    u48() {
      const at = take(6)
      return view.getUint32(at, true) + view.getUint16(at + 4, true) * 2 ** 32
    },
    u64() {
      const at = take(8)
      const value = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
      if (value > Number.MAX_SAFE_INTEGER) broken('a number below 2^53', 'a larger one')
      return value
    },
    bytes(size) {
      const at = take(size)
      return bytes.subarray(at, at + size)
    },
    text(size) {
      const at = take(size)
      const text = bytes.subarray(at, at + size)
      if (!isUtf8(text)) broken('text in UTF-8', 'other bytes')
      return Buffer.from(text).toString('utf8')
    },
    end() {
      if (offset !== bytes.byteLength) broken('no more bytes', `${bytes.byteLength - offset}`)
    }
  }
}

/** Writes little-endian fields one after another into a buffer of exactly the size given. */
export interface FieldWriter {
  u8(value: number): FieldWriter
  u16(value: number): FieldWriter
  i32(value: number): FieldWriter
  u32(value: number): FieldWriter
  u48(value: number): FieldWriter
  u64(value: number): FieldWriter
  bytes(value: Uint8Array): FieldWriter
  zeros(size: number): FieldWriter
  /** The buffer; fails unless it is full, so that a layout and its size cannot drift apart. */
  done(): Uint8Array
}

/** @throws LimitError when a number does not fit its field */
export function writeFields(size: number): FieldWriter {
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  let offset = 0
  const take = (value: number, width: number): number => {
    const max = width === 8 ? Number.MAX_SAFE_INTEGER : 2 ** (8 * width) - 1
    if (!Number.isInteger(value) || value < 0 || value > max) {
      throw new LimitError(`${value} does not fit a field of ${width} bytes`, { found: value })
    }
    offset += width
    return offset - width
  }
  const writer: FieldWriter = {
    u8(value) {
      view.setUint8(take(value, 1), value)
      return writer
    },
    u16(value) {
      view.setUint16(take(value, 2), value, true)
      return writer
    },
    i32(value) {
      if (value !== (value | 0))
        throw new LimitError(`${value} does not fit a field of 4 bytes`, { found: value })
      view.setInt32(take(0, 4), value, true)
      return writer
    },
    u32(value) {
      view.setUint32(take(value, 4), value, true)
      return writer
    },
    u48(value) {
      const at = take(value, 6)
      view.setUint32(at, value % 2 ** 32, true)
      view.setUint16(at + 4, Math.floor(value / 2 ** 32), true)
      return writer
    },
    u64(value) {
      const at = take(value, 8)
      view.setUint32(at, value % 2 ** 32, true)
      view.setUint32(at + 4, Math.floor(value / 2 ** 32), true)
      return writer
    },
    bytes(value) {
      bytes.set(value, offset)
      offset += value.byteLength
      return writer
    },
    zeros(count) {
      offset += count
      return writer
    },
    done() {
      if (offset !== size) throw new Error(`layout of ${size} bytes was filled with ${offset}`)
      return bytes
    }
  }
  return writer
}

/**
 * Copies all of `source` to `target` at `offset`: what `target.set` does. In shared memory V8 does that byte by byte
 * unless both lie alike on words, which takes eight times as long; Node's `fill` is one `memcpy`.
 *
 * @throws RangeError when it does not fit
 */
export function copyBytes(source: Uint8Array, target: Uint8Array, offset = 0): void {
  if (source.length === 0) return
  Buffer.from(target.buffer, target.byteOffset, target.length).fill(source, offset, offset + source.length)
}
