import type { Decoder, Encoder } from '@toondepauw/node-zstd'
import { CorruptError, isHexzError } from '../errors.js'
import { copyBytes } from '../format/bytes.js'
import type { CodecName } from '../format/frame.js'
import { formatLimits as limits, memoryLimits } from '../limits.js'
import { bindings } from './bindings.js'
import { isFormatted, isFormattedIntact } from './zstd-dictionary.js'
import { isZstdFrameBounded, withStatedSize } from './zstd-frame.js'

/**
 * The codecs, as functions from bytes to bytes. Blocks go through synchronous calls on worker threads (a
 * call costs ~30 µs whichever way it is made, and a worker has nothing else to do); index pages and the
 * root, few and on the main thread, go through the asynchronous ones.
 */

/** Bytes to smaller bytes, or `undefined` when they do not shrink. */
export type BlockEncoder = (raw: Uint8Array) => Uint8Array | undefined

/** lz4-napi puts the raw size (u32) in front of the block; the frame has it already. */
const lz4PrefixSize = 4

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Of a block of usual size: one memory for all on a thread. */
const scratch = Buffer.allocUnsafeSlow(memoryLimits.decodeScratchSize)

/** Memory to be used at once: the next call may give the same. */
function scratchOf(size: number): Buffer {
  return size <= scratch.length ? scratch.subarray(0, size) : Buffer.allocUnsafeSlow(size)
}

/** The raw size and the bytes, to be used at once. */
function withPrefix(stored: Uint8Array, rawSize: number): Buffer {
  const prefixed = scratchOf(lz4PrefixSize + stored.length)
  prefixed.writeUInt32LE(rawSize)
  copyBytes(stored, prefixed, lz4PrefixSize)
  return prefixed
}

/** For the bindings, which end the whole process over a formatted dictionary that is damaged. */
function asDictionary(dictionary: Uint8Array | undefined): Buffer | null {
  if (dictionary === undefined) return null
  if (isFormatted(dictionary) && !isFormattedIntact(dictionary))
    throw new CorruptError('BAD_STRUCTURE', 'damaged: the tables of the Zstandard dictionary are no tables')
  return asBuffer(dictionary)
}

/**
 * @param level 1 to 19, for Zstd only
 * @param dictionary for Zstd only: raw content, or one in Zstandard's format
 */
export function createBlockEncoder(codec: CodecName, level: number, dictionary?: Uint8Array): BlockEncoder {
  const shrunk = (raw: Uint8Array, stored: Uint8Array): Uint8Array | undefined =>
    stored.length < raw.length ? stored : undefined
  if (codec === 'lz4') {
    const { compressSync } = bindings.lz4
    return (raw) => shrunk(raw, compressSync(asBuffer(raw)).subarray(lz4PrefixSize))
  }
  if (codec === 'zstd') {
    const encode = createZstdEncoder(level, dictionary)
    return (raw) => {
      const stored = encode(raw)
      return stored === undefined ? undefined : shrunk(raw, stored)
    }
  }
  return () => undefined
}

/**
 * The highest level whose encoder cuts blocks no finer than the format allows. Where a higher one does,
 * because the data changes all the time, the chunk is compressed at this level instead.
 */
const plainSplitLevel = 12

/** Zstd frames that keep the format's bounds, or `undefined` where none can be made. */
function createZstdEncoder(level: number, dictionary: Uint8Array | undefined): BlockEncoder {
  const prepared = asDictionary(dictionary)
  const create = (at: number): Encoder => new bindings.zstd.Encoder(at, prepared)
  const bounded = (raw: Uint8Array, by: Encoder): Uint8Array | undefined => {
    const stored = by.encodeSync(asBuffer(raw))
    return isZstdFrameBounded(stored, raw.length, limits.zstdWindowSizeMax) ? stored : undefined
  }
  const encoder = create(level)
  let plain: Encoder | undefined
  return (raw) =>
    bounded(raw, encoder) ??
    (level > plainSplitLevel ? bounded(raw, (plain ??= create(plainSplitLevel))) : undefined)
}

/** Stored bytes to exactly `rawSize` plain bytes; with the dictionary when it was made with it. */
export type BlockDecoder = (
  codec: CodecName,
  stored: Uint8Array,
  rawSize: number,
  usesDictionary?: boolean
) => Uint8Array

/**
 * Whatever the bytes say, no more than `rawSize` is decoded.
 *
 * @throws CorruptError BAD_STRUCTURE (from the decoder) when the bytes do not decode to `rawSize`
 */
export function createBlockDecoder(dictionary?: Uint8Array): BlockDecoder {
  const prepare = (dictionary?: Uint8Array): ((stored: Uint8Array, rawSize: number) => Uint8Array) => {
    let decoder: Decoder | undefined
    return (stored, rawSize) => {
      const stated = withStatedSize(stored, rawSize, limits.zstdWindowSizeMax, scratchOf)
      if (stated === undefined) throw broken('zstd', rawSize)
      decoder ??= new bindings.zstd.Decoder(asDictionary(dictionary))
      return decoder.decodeSync(stated)
    }
  }
  const withDictionary = dictionary === undefined ? undefined : prepare(dictionary)
  const decoders: Record<CodecName, (stored: Uint8Array, rawSize: number) => Uint8Array> = {
    raw: (stored) => stored,
    lz4: (stored, rawSize) => bindings.lz4.uncompressSync(withPrefix(stored, rawSize)),
    zstd: prepare()
  }
  return (codec, stored, rawSize, usesDictionary = false) => {
    const decode = usesDictionary ? withDictionary : decoders[codec]
    if (decode === undefined)
      throw new CorruptError('BAD_STRUCTURE', 'damaged: it needs a dictionary that is not there')
    const raw = orBroken(codec, rawSize, () => decode(stored, rawSize))
    if (raw.length !== rawSize) throw broken(codec, rawSize, raw.length)
    return raw
  }
}

/** Level 3; raw when it does not shrink. For index pages and the root. */
export async function encodeIndexBytes(raw: Uint8Array): Promise<{ codec: CodecName; stored: Uint8Array }> {
  const stored = await bindings.asyncZstd.compress(asBuffer(raw), 3)
  return stored.length < raw.length ? { codec: 'zstd', stored } : { codec: 'raw', stored: raw }
}

/**
 * Pages and the root hold 32 bytes of digest for each 57, which nothing shrinks; a page of holes alone does
 * shrink to next to nothing, but is small. So a root of a few kilobytes cannot make the decoder fill 64 MiB.
 */
const indexRatioMax = 4
const indexRatioFreeSize = 256 * 1024

/** @throws CorruptError BAD_STRUCTURE when the bytes do not decode to `rawSize` */
export async function decodeIndexBytes(
  codec: CodecName,
  stored: Uint8Array,
  rawSize: number
): Promise<Uint8Array> {
  if (codec === 'lz4') throw new CorruptError('BAD_STRUCTURE', 'damaged: an index page or root cannot be LZ4')
  if (rawSize > stored.length * indexRatioMax + indexRatioFreeSize) throw broken(codec, rawSize)
  const raw = codec === 'raw' ? stored : await decodeIndexZstd(stored, rawSize)
  if (raw.length !== rawSize) throw broken(codec, rawSize, raw.length)
  return raw
}

async function decodeIndexZstd(stored: Uint8Array, rawSize: number): Promise<Uint8Array> {
  const stated = withStatedSize(stored, rawSize, limits.zstdWindowSizeMax)
  if (stated === undefined) throw broken('zstd', rawSize)
  const { asyncZstd } = bindings // one that is not installed is no damage
  try {
    return await asyncZstd.decompress(stated)
  } catch (cause) {
    throw broken('zstd', rawSize, undefined, cause)
  }
}

function orBroken<T>(codec: CodecName, rawSize: number, decode: () => T): T {
  try {
    return decode()
  } catch (cause) {
    throw isHexzError(cause) ? cause : broken(codec, rawSize, undefined, cause)
  }
}

function broken(codec: CodecName, expected: number, found?: number, cause?: unknown): CorruptError {
  const what = found === undefined ? 'do not decode' : `decode to ${found}`
  return new CorruptError(
    'BAD_STRUCTURE',
    `damaged: ${codec} bytes that should decode to ${expected} bytes ${what}`,
    {
      expected,
      ...(found === undefined ? {} : { found }),
      cause
    }
  )
}
