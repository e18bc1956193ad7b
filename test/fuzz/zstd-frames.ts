import { bindings } from '../../lib/compression/bindings.js'
import { writeFields } from '../../lib/format/bytes.js'
import type { Random } from './random.js'

/*
 * Zstd frames and LZ4 blocks made by hand (RFC 8878; LZ4 block format): what an encoder never gives, from the
 * unusual to bombs.
 */

const blockTypes = { raw: 0, rle: 1, compressed: 2, reserved: 3 } as const
const blockSizeMax = 128 * 1024

export interface ZstdBlock {
  readonly type: keyof typeof blockTypes
  /** Of the field in its header; plain bytes of a raw or RLE block. */
  readonly size: number
  readonly bytes: Uint8Array
}

export interface ZstdFrameFields {
  readonly blocks: readonly ZstdBlock[]
  /** Size that it states; `undefined` for none. */
  readonly contentSize?: number | undefined
  /** Of the field: 1 byte only in a single segment. */
  readonly contentSizeWidth?: 1 | 2 | 4 | 8
  readonly isSingleSegment?: boolean
  /** Of the window descriptor: exponent in the upper five bits, mantissa below. */
  readonly window?: number
  readonly dictionaryId?: number | undefined
  readonly checksum?: Uint8Array | undefined
  readonly isLastMarked?: boolean
  readonly reservedBit?: boolean
}

export function zstdFrame({
  blocks,
  contentSize,
  contentSizeWidth = 4,
  isSingleSegment = false,
  window = 0x58,
  dictionaryId,
  checksum,
  isLastMarked = true,
  reservedBit = false
}: ZstdFrameFields): Buffer {
  const sizeCode = contentSize === undefined ? 0 : { 1: 0, 2: 1, 4: 2, 8: 3 }[contentSizeWidth]
  const descriptor =
    (sizeCode << 6) |
    (isSingleSegment ? 32 : 0) |
    (reservedBit ? 8 : 0) |
    (checksum === undefined ? 0 : 4) |
    (dictionaryId === undefined ? 0 : 3)
  const pieces: Uint8Array[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, descriptor])]
  if (!isSingleSegment) pieces.push(Buffer.from([window]))
  if (dictionaryId !== undefined) pieces.push(writeFields(4).u32(dictionaryId).done())
  if (contentSize !== undefined) pieces.push(contentSizeField(contentSize, contentSizeWidth))
  for (const [i, { type, size, bytes }] of blocks.entries()) {
    const isLast = isLastMarked && i === blocks.length - 1
    const header = Buffer.alloc(3)
    header.writeUIntLE(((size << 3) | (blockTypes[type] << 1) | (isLast ? 1 : 0)) >>> 0, 0, 3)
    pieces.push(header, bytes)
  }
  if (checksum !== undefined) pieces.push(checksum)
  return Buffer.concat(pieces)
}

function contentSizeField(size: number, width: 1 | 2 | 4 | 8): Uint8Array {
  const field = Buffer.alloc(8)
  field.writeBigUInt64LE(BigInt(Math.max(0, width === 2 ? size - 256 : size)))
  return field.subarray(0, width)
}

export const rleBlock = (value: number, size: number): ZstdBlock => ({
  type: 'rle',
  size: Math.min(size, 2 ** 21 - 1),
  bytes: Buffer.from([value])
})
export const rawBlock = (bytes: Uint8Array): ZstdBlock => ({ type: 'raw', size: bytes.length, bytes })

/** About twenty bytes that decode to 128 KiB of text, whatever stands before them in a frame. */
export function denseBlock(): ZstdBlock {
  return (dense ??= makeDense())
}
let dense: ZstdBlock | undefined
function makeDense(): ZstdBlock {
  const frame = new bindings.zstd.Encoder(3, null).encodeSync(Buffer.alloc(2 * blockSizeMax, 'dense '))
  const descriptor = frame.readUInt8(4)
  const isSingleSegment = (descriptor & 32) !== 0
  const at = 5 + (isSingleSegment ? 0 : 1) + ([isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0)
  const header = frame.readUIntLE(at, 3)
  const size = header >> 3
  if (((header >> 1) & 3) !== blockTypes.compressed)
    throw new Error('the first block is not a compressed one')
  return { type: 'compressed', size, bytes: frame.subarray(at + 3, at + 3 + size) }
}

/** A skippable frame of Zstd's own. */
export function zstdSkippable(random: Random, size: number): Buffer {
  const head = writeFields(8)
    .u32(0x184d2a50 + random.below(16))
    .u32(size)
    .done()
  return Buffer.concat([head, random.bytes(size)])
}

/** What a codec is given instead of what an encoder makes. */
export interface ForgedBytes {
  readonly what: string
  readonly bytes: Uint8Array
  /** What it decodes to, where that is known. */
  readonly plain?: Uint8Array
}

/** A frame that should decode to `plain`, or to something else. */
export function forgeZstd(random: Random, plain: Uint8Array): ForgedBytes {
  const size = plain.length
  const step = Math.max(1, Math.min(blockSizeMax, Math.ceil(size / 2)))
  const raws = Array.from({ length: Math.ceil(size / step) }, (_, i) =>
    rawBlock(plain.subarray(i * step, (i + 1) * step))
  )
  const filled = (value: number): Buffer => Buffer.alloc(size, value)
  const whole = zstdFrame({ blocks: raws, contentSize: size })
  const many = (count: number, block: ZstdBlock): ZstdBlock[] => Array.from({ length: count }, () => block)
  const countMax = Math.ceil(size / 8192) + 2
  const kinds: (() => ForgedBytes)[] = [
    () => ({ what: 'raw blocks', bytes: whole, plain }),
    () => ({ what: 'no content size', bytes: zstdFrame({ blocks: raws }), plain }),
    () => ({
      what: 'run',
      bytes: zstdFrame({ blocks: [rleBlock(65, size)], contentSize: size }),
      plain: filled(65)
    }),
    () => ({ what: 'run without size', bytes: zstdFrame({ blocks: [rleBlock(0, size)] }), plain: filled(0) }),
    () => ({
      what: 'empty blocks',
      bytes: zstdFrame({ blocks: [...raws, ...many(random.below(3), rawBlock(Buffer.alloc(0)))] }),
      plain
    }),
    () => ({
      what: 'empty blocks first',
      bytes: zstdFrame({ blocks: [...many(1 + random.below(countMax), rawBlock(Buffer.alloc(0))), ...raws] }),
      plain
    }),
    () => ({
      what: 'single segment',
      bytes: zstdFrame({
        blocks: raws,
        contentSize: size,
        isSingleSegment: true,
        contentSizeWidth: size < 256 ? 1 : random.pick([4, 8])
      }),
      plain
    }),
    () => ({
      what: 'wide content size',
      bytes: zstdFrame({ blocks: raws, contentSize: size, contentSizeWidth: 8 }),
      plain
    }),
    () => ({
      what: 'wrong content size',
      bytes: zstdFrame({ blocks: raws, contentSize: random.pick([0, size - 1, size + 1, 2 ** 32 - 1]) })
    }),
    () => ({
      what: 'huge content size',
      bytes: zstdFrame({
        blocks: raws,
        contentSize: 2 ** 53,
        contentSizeWidth: 8,
        isSingleSegment: random.chance(50)
      })
    }),
    () => ({ what: 'window', bytes: zstdFrame({ blocks: raws, window: random.below(256) }), plain }),
    () => ({
      what: 'dictionary id',
      bytes: zstdFrame({ blocks: raws, dictionaryId: random.pick([0, 1, 2 ** 32 - 1]) }),
      plain
    }),
    () => ({ what: 'checksum', bytes: zstdFrame({ blocks: raws, checksum: random.bytes(4) }) }),
    () => ({ what: 'no last block', bytes: zstdFrame({ blocks: raws, isLastMarked: false }) }),
    () => ({ what: 'reserved bit', bytes: zstdFrame({ blocks: raws, reservedBit: true }) }),
    () => ({
      what: 'reserved block',
      bytes: zstdFrame({ blocks: [{ type: 'reserved', size: 4, bytes: Buffer.alloc(4) }] })
    }),
    () => ({ what: 'large run', bytes: zstdFrame({ blocks: [rleBlock(1, 2 ** 21 - 1)] }) }),
    () => ({
      what: 'runs that exceed',
      bytes: zstdFrame({ blocks: many(countMax, rleBlock(2, blockSizeMax)) })
    }),
    () => ({ what: 'dense blocks', bytes: zstdFrame({ blocks: many(countMax, denseBlock()) }) }),
    () => ({
      what: 'dense blocks of stated size',
      bytes: zstdFrame({ blocks: many(countMax, denseBlock()), contentSize: size })
    }),
    () => ({
      what: 'too many blocks',
      bytes: zstdFrame({ blocks: many(countMax + 1, rawBlock(Buffer.alloc(0))) })
    }),
    () => ({
      what: 'junk in a compressed block',
      bytes: zstdFrame({ blocks: [{ type: 'compressed', size: 40, bytes: random.bytes(40) }] })
    }),
    () => ({ what: 'two frames', bytes: Buffer.concat([whole, whole]) }),
    () => ({
      what: 'a frame for each block',
      bytes: Buffer.concat(raws.map((block) => zstdFrame({ blocks: [block] })))
    }),
    () => ({ what: 'skippable first', bytes: Buffer.concat([zstdSkippable(random, 5), whole]) }),
    () => ({ what: 'skippable last', bytes: Buffer.concat([whole, zstdSkippable(random, random.below(9))]) }),
    () => ({ what: 'byte behind', bytes: Buffer.concat([whole, Buffer.alloc(1)]) }),
    () => ({ what: 'cut', bytes: whole.subarray(0, random.below(whole.length)) }),
    () => ({ what: 'nothing', bytes: Buffer.alloc(0) })
  ]
  return random.pick(kinds)()
}

/** An LZ4 block. */
export function forgeLz4(random: Random, plain: Uint8Array): ForgedBytes {
  const size = plain.length
  /** Length bytes behind a nibble of 15. */
  const more = (rest: number): number[] => [
    ...Array.from({ length: Math.floor(rest / 255) }, () => 255),
    rest % 255
  ]
  const literals = (bytes: Uint8Array): Buffer =>
    bytes.length < 15
      ? Buffer.from([bytes.length << 4, ...bytes])
      : Buffer.concat([Buffer.from([0xf0, ...more(bytes.length - 15)]), bytes])
  const end = literals(Buffer.alloc(5, 7))
  const match = (count: number, distance: number): Buffer =>
    Buffer.concat([
      Buffer.from([0x1f, 7, distance & 255, distance >> 8, ...more(Math.max(0, count - 19))]),
      end
    ])
  const kinds: (() => ForgedBytes)[] = [
    () => ({ what: 'literals', bytes: literals(plain), plain }),
    () => ({
      what: 'run',
      bytes: match(Math.max(19, size - 6), 1),
      ...(size >= 25 ? { plain: Buffer.alloc(size, 7) } : {})
    }),
    () => ({ what: 'longer run', bytes: match(size * 4, 1) }),
    () => ({ what: 'distance 0', bytes: match(Math.max(19, size - 6), 0) }),
    () => ({ what: 'distance too far', bytes: match(Math.max(19, size - 6), 999) }),
    () => ({ what: 'shorter', bytes: literals(plain.subarray(1)) }),
    () => ({ what: 'endless length', bytes: Buffer.concat([Buffer.from([0xf0]), Buffer.alloc(200, 255)]) }),
    () => ({ what: 'cut', bytes: literals(plain).subarray(0, random.below(size)) }),
    () => ({ what: 'junk', bytes: random.bytes(random.below(60)) }),
    () => ({ what: 'nothing', bytes: Buffer.alloc(0) })
  ]
  return random.pick(kinds)()
}
