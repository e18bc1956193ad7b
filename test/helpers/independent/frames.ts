/**
 * Header, key slots and frames. Part of the independent reader
 * (../independent-reader.ts), written from docs/format.md alone; numbers in comments are its sections.
 */
import { createHash, createPublicKey, privateDecrypt, scryptSync } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { blake3 } from '@napi-rs/blake-hash'
import { Decoder } from '@toondepauw/node-zstd'
import { uncompressSync } from 'lz4-napi'
import { attempt, checkZstd, Fields, MiB, must, offsetNonce, Refused, unseal } from './bytes.js'

export interface Credentials {
  readonly passphrase?: string
  readonly identity?: KeyObject
  /** Whether a dictionary may be given to the bindings: they end the process over one whose tables are damaged. */
  readonly isUsable?: (dictionary: Buffer) => boolean
}
export type Header = ReturnType<typeof parseHeader>
/** Section 3. */
function parseHeader(bytes: Buffer) {
  const f = new Fields(bytes)
  f.take(8)
  const [major, minor, headerSize, required] = [f.uint(2), f.uint(2), f.uint(4), f.uint(4)]
  must(major !== 0, 'major version 0')
  must(major === 1, `version ${major}`, 'unsupported')
  must(required <= 1, `required flags ${required}`, 'unsupported')
  f.take(4)
  const [chunker, codec, level, digest, cipher] = [f.uint(1), f.uint(1), f.uint(1), f.uint(1), f.uint(1)]
  must(chunker <= 1, `chunker ${chunker}`, 'unsupported')
  must(codec <= 2, `codec ${codec}`, 'unsupported')
  must(digest === 1, `digest ${digest}`, 'unsupported')
  must(cipher <= 1, `cipher ${cipher}`, 'unsupported')
  must(cipher === required, 'the cipher is not what the flags say')
  const [keySlotCount, keySlotSize] = [f.uint(1), f.uint(2)]
  const slots = `${keySlotCount} × ${keySlotSize}`
  must(slots === (cipher === 1 ? '16 × 640' : '0 × 0'), `${slots} key slots`, 'unsupported')
  const [min, avg, max] = [f.uint(4), f.uint(4), f.uint(4)]
  must(512 <= min && min <= avg && avg <= max && max <= 4 * MiB, 'chunk sizes')
  must(chunker === 1 || min === max, 'chunk sizes of fixed chunks')
  const profileBytes = f.text(0, 32)
  must(
    profileBytes.every((byte) => byte >= 0x20 && byte <= 0x7e),
    'the profile is not printable ASCII'
  )
  const streamCount = f.uint(1)
  must(streamCount >= 1 && streamCount <= 16, 'number of streams')
  const names = f.list(streamCount, () => f.text(1, 64)).map((name) => name.toString('latin1'))
  must(
    names.every((name) => /^[a-z0-9][a-z0-9._-]*$/.test(name)),
    'letters of a name'
  )
  must(new Set(names).size === streamCount, 'two streams of one name')
  f.take(4)
  f.end()
  const framesOffset = headerSize + keySlotCount * keySlotSize
  const chunkSizes = { min, avg, max }
  const profile = profileBytes.toString('latin1')
  return {
    major,
    minor,
    encrypted: cipher === 1,
    chunker,
    codec,
    level,
    chunkSizes,
    profile,
    names,
    framesOffset
  }
}

/** N × r × p of a passphrase slot. */
const workOf = (slot: Buffer): number =>
  slot.readUInt8(0) === 1 ? 2 ** slot.readUInt8(5) * slot.readUInt8(6) * slot.readUInt8(7) : 0

/** The data key (4, 9). */
function findKey(slots: Buffer, h: Buffer, { passphrase, identity }: Credentials): Buffer {
  const met: string[] = []
  const spki = identity && createPublicKey(identity).export({ type: 'spki', format: 'der' })
  const keyId = spki && createHash('sha256').update(spki).digest()
  const used = Array.from({ length: 16 }, (_, i) => slots.subarray(i * 640, i * 640 + 640))
  let work = 0 // of all together, the least first (9)
  for (const slot of used.toSorted((one, other) => workOf(one) - workOf(other))) {
    if (slot.every((byte) => byte === 0)) continue
    const [type, scheme] = [slot.readUInt8(0), slot.readUInt8(4)]
    if (type === 0 || crc32(slot.subarray(0, 636)) !== slot.readUInt32LE(636)) met.push('a damaged slot')
    else if (type > 2 || scheme !== 1) met.push(`slot type ${type}, scheme ${scheme}`)
    else if (type === 1 && passphrase !== undefined) {
      const [logN, r, p] = [slot.readUInt8(5), slot.readUInt8(6), slot.readUInt8(7)]
      const inRange = logN >= 10 && logN <= 20 && r >= 1 && r <= 32 && p >= 1 && p <= 16
      if (!inRange || 2 ** logN * r * 128 > 256 * MiB || (work += workOf(slot)) > 2 ** 24) {
        met.push('scrypt numbers out of range')
        continue
      }
      const cost = { N: 2 ** logN, r, p, maxmem: 512 * MiB }
      const wrapping = scryptSync(passphrase.normalize('NFC'), slot.subarray(8, 40), 32, cost)
      const parts = [slot.subarray(40, 52), slot.subarray(52, 84), slot.subarray(84, 100)] as const
      try {
        return unseal(wrapping, parts[0], 'hexz 1 slot', h, Buffer.alloc(0), parts[1], parts[2])
      } catch {
        met.push('wrong passphrase')
      }
    } else if (type === 2 && identity && keyId?.equals(slot.subarray(8, 40)) === true) {
      const wrapped = slot.subarray(40, 40 + Math.min(596, slot.readUInt16LE(6)))
      try {
        const key = privateDecrypt({ key: identity, oaepHash: 'sha256' }, wrapped)
        if (key.length === 32) return key
      } catch {
        // damaged, like a key of another size
      }
      met.push('a damaged slot')
    }
  }
  throw new Refused('no key', `no slot opens: ${met.join(', ')}`)
}

export interface Context {
  readonly file: Buffer
  readonly header: Header
  readonly headerBytes: Buffer
  readonly seal: { readonly key: Buffer; readonly h: Buffer } | undefined
  readonly isUsable: (dictionary: Buffer) => boolean
  dictionary?: Buffer
}
export function open(file: Buffer, credentials: Credentials): Context {
  must(file.subarray(0, 8).equals(Buffer.from('894845585a0d0a1a', 'hex')), 'magic', 'no snapshot')
  must(file.length >= 16, 'ends in the header', 'incomplete')
  const headerSize = file.readUInt32LE(12)
  must(headerSize >= 50 && headerSize <= 4096, 'headerSize')
  must(headerSize <= file.length, 'ends in the header', 'incomplete')
  const headerBytes = file.subarray(0, headerSize)
  must(
    crc32(headerBytes.subarray(0, -4)) === headerBytes.readUInt32LE(headerSize - 4),
    'checksum of the header'
  )
  const header = parseHeader(headerBytes)
  must(header.framesOffset <= file.length, 'ends in the key slots', 'incomplete')
  const h = blake3(headerBytes)
  const slots = file.subarray(headerSize, header.framesOffset)
  const seal = header.encrypted ? { key: findKey(slots, h, credentials), h } : undefined
  return { file, header, headerBytes, seal, isUsable: credentials.isUsable ?? (() => true) }
}

export interface Frame {
  readonly offset: number
  /** As it lies in the file. */
  readonly size: number
  readonly type: number
  readonly codec: number
  readonly stream: number
  readonly flags: number
  readonly rawSize: number
  readonly payload: Buffer
}
/** Largest rawSize and payload of the types 1 to 7 (5). */
const sizesMax: Readonly<Record<number, readonly [number, number]>> = {
  1: [MiB, MiB],
  2: [4 * MiB, 4 * MiB + 8],
  3: [2 ** 32 - 1, 1024 * 6],
  4: [0, 8],
  5: [248 * 1024, 248 * 1024],
  6: [64 * MiB, 64 * MiB],
  7: [0, 64 * MiB + 32]
}

/** One frame, checked as far as it can be by itself (5). */
function parseFrame(bytes: Buffer, offset: number, header: Header): Frame {
  must(offset + 16 <= bytes.length, 'ends in a frame', 'incomplete')
  const f = new Fields(bytes.subarray(offset))
  const checksum = f.uint(4)
  const [type, codec, stream, flags, rawSize, payloadSize] = [
    f.uint(1),
    f.uint(1),
    f.uint(1),
    f.uint(1),
    f.uint(4),
    f.uint(4)
  ]
  const skippable = type >= 128
  const [rawMax, payloadMax] = sizesMax[type] ?? [2 ** 32 - 1, 64 * MiB + (skippable ? 0 : 32)]
  must(rawSize <= rawMax && payloadSize <= payloadMax, `sizes in a frame of type ${type}`)
  const size = 16 + payloadSize
  must(offset + size <= bytes.length, 'ends in a frame', 'incomplete')
  const payload = f.take(payloadSize)
  must(crc32(bytes.subarray(offset + 4, offset + size)) === checksum, 'checksum of a frame')
  const frame = { offset, size, type, codec, stream, flags, rawSize, payload }
  if (skippable) return frame
  must(type in sizesMax, `frame type ${type}`, 'unsupported')
  must(codec <= 2, `codec ${codec}`, 'unsupported')
  must(flags <= 1, `frame flags ${flags}`, 'unsupported')
  must(flags === 0 || (type === 2 && codec === 2), 'a dictionary where none can be')
  // Fields that have no meaning for a type are not looked at.
  must(![1, 5, 6].includes(type) || codec !== 1, 'codec of a frame')
  must(type !== 7 || (codec === 0 && stream === 0 && rawSize === 0), 'fields of a sealed frame')
  must(![2, 3, 4, 5].includes(type) || stream < header.names.length, 'stream of a frame')
  if (type === 2) must(rawSize >= 1 && payloadSize >= 8, 'size of a block')
  if (type === 3) must(payloadSize >= 6 && payloadSize % 6 === 0, 'size of a repeat frame')
  if (type === 4) must(payloadSize === 8, 'size of a hole frame')
  const bounded = type < 5 || codec === 0 || rawSize <= 4 * payloadSize + 262144
  must(bounded, 'more plain bytes than a page or root may have')
  return frame
}

export function frameAt(context: Context, offset: number): Frame {
  const outer = parseFrame(context.file, offset, context.header)
  must((outer.type === 7) === context.header.encrypted, 'sealed or not')
  if (!context.seal) return outer
  must(outer.payload.length >= 32, 'size of a sealed frame')
  const { key, h } = context.seal
  const head = context.file.subarray(offset + 4, offset + 16)
  const [sealed, tag] = [outer.payload.subarray(0, -16), outer.payload.subarray(-16)]
  const plain = unseal(key, offsetNonce(offset), 'hexz 1 frame', h, head, sealed, tag)
  const inner = attempt(() => parseFrame(plain, 0, context.header), 'the frame in a sealed one')
  must(inner.type !== 7 && inner.size === plain.length, 'the frame in a sealed one')
  return { ...inner, offset, size: outer.size }
}

/** The plain bytes of a frame, of a block those behind its stream offset. */
export function plainOf(frame: Frame, dictionary?: Buffer): Buffer {
  const { codec, rawSize } = frame
  const bytes = frame.type === 2 ? frame.payload.subarray(8) : frame.payload
  const decode = (): Buffer => {
    if (codec === 0) return bytes
    if (codec === 2) return new Decoder(dictionary).decodeSync(bytes)
    const size = Buffer.alloc(4)
    size.writeUInt32LE(rawSize)
    return uncompressSync(Buffer.concat([size, bytes]))
  }
  if (codec === 2) checkZstd(bytes, rawSize)
  const plain = attempt(decode, 'compressed bytes')
  must(plain.length === rawSize, 'size of plain bytes')
  return plain
}
export function blockPlain(context: Context, frame: Frame): Buffer {
  if (frame.flags === 0) return plainOf(frame)
  must(context.dictionary !== undefined, 'a block needs a dictionary that is not there')
  must(context.isUsable(context.dictionary), 'tables of the dictionary')
  return plainOf(frame, context.dictionary)
}
