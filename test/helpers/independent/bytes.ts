/**
 * Refusals, fields, seals, and what a Zstd frame asks for. Part of the independent reader
 * (../independent-reader.ts), written from docs/format.md alone; numbers in comments are its sections.
 */
import { createDecipheriv } from 'node:crypto'

export type RefusedAs = 'damaged' | 'unsupported' | 'incomplete' | 'no snapshot' | 'no key'
export class Refused extends Error {
  constructor(
    readonly as: RefusedAs,
    why: string
  ) {
    super(`${as}: ${why}`)
  }
}
export function must(condition: boolean, why: string, as: RefusedAs = 'damaged'): asserts condition {
  if (!condition) throw new Refused(as, why)
}
export function attempt<T>(action: () => T, why: string): T {
  try {
    return action()
  } catch {
    throw new Refused('damaged', why)
  }
}

export const MiB = 2 ** 20

/** Reads fields one behind the other (2). */
export class Fields {
  at = 0
  constructor(readonly bytes: Buffer) {}
  take(size: number): Buffer {
    must(this.at + size <= this.bytes.length, 'fields end too early')
    this.at += size
    return this.bytes.subarray(this.at - size, this.at)
  }
  uint(size: number): number {
    return this.take(size).readUIntLE(0, size)
  }
  u64(): number {
    const value = this.take(8).readBigUInt64LE()
    must(value <= Number.MAX_SAFE_INTEGER, 'an u64 above 2^53 - 1')
    return Number(value)
  }
  text(sizeMin: number, sizeMax: number): Buffer {
    const size = this.uint(1)
    must(size >= sizeMin && size <= sizeMax, 'size of a text')
    return this.take(size)
  }
  list<T>(count: number, field: () => T): T[] {
    return Array.from({ length: count }, field)
  }
  end(): void {
    must(this.at === this.bytes.length, 'bytes behind the last field')
  }
}

export function unseal(
  key: Buffer,
  nonce: Buffer,
  label: string,
  h: Buffer,
  more: Buffer,
  sealed: Buffer,
  tag: Buffer
) {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
  decipher.setAAD(Buffer.concat([Buffer.from(`${label}\0`), h, more])).setAuthTag(tag)
  return attempt(() => Buffer.concat([decipher.update(sealed), decipher.final()]), `tag of a ${label}`)
}
export function offsetNonce(offset: number): Buffer {
  const nonce = Buffer.alloc(12)
  nonce.writeBigUInt64BE(BigInt(offset), 4)
  return nonce
}

/** What a Zstd frame asks for (2; RFC 8878, section 3.1.1), before anything decodes it. */
export function checkZstd(bytes: Buffer, rawSize: number): void {
  const f = new Fields(bytes)
  must(f.uint(4) === 0xfd2fb528, 'magic of a Zstd frame')
  const descriptor = f.uint(1)
  must((descriptor & 8) === 0, 'reserved bit of a Zstd frame')
  const singleSegment = (descriptor & 32) !== 0
  const exponent = singleSegment ? 0 : f.uint(1)
  const idSize = descriptor & 3
  f.take(idSize === 3 ? 4 : idSize)
  const sizeCode = descriptor >> 6
  const statesSize = sizeCode !== 0 || singleSegment
  const contentSize =
    sizeCode === 3 ? f.u64() : sizeCode === 1 ? f.uint(2) + 256 : statesSize ? f.uint(2 ** sizeCode) : rawSize
  must(contentSize === rawSize, 'size in a Zstd frame')
  const window = singleSegment ? contentSize : 2 ** (10 + (exponent >> 3)) * (1 + (exponent & 7) / 8)
  must(window <= 8 * MiB, 'window of a Zstd frame')
  for (let count = 1, last = false; !last; count++) {
    must(count <= Math.ceil(rawSize / 8192) + 2, 'number of blocks in a Zstd frame')
    const block = f.uint(3)
    last = (block & 1) === 1
    const type = (block >> 1) & 3
    must(type !== 3, 'block type in a Zstd frame')
    must(block >> 3 <= Math.min(rawSize, window), 'size of a block in a Zstd frame')
    f.take(type === 1 ? 1 : block >> 3)
  }
  f.take((descriptor & 4) === 0 ? 0 : 4)
  f.end()
}
