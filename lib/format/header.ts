import { crc32 } from 'node:zlib'
import { CorruptError, LimitError, UnsupportedError, UsageError } from '../errors.js'
import { formatLimits as limits } from '../limits.js'
import { readFields, writeFields, type FieldReader } from './bytes.js'
import { codecNames, type CodecName } from './frame.js'

/*
 * Header: the first bytes of a snapshot.
 *
 *  0  magic           8  89 48 45 58 5A 0D 0A 1A
 *  8  major           u16
 * 10  minor           u16
 * 12  headerSize      u32  these fields up to and with the checksum; the key slots follow
 * 16  requiredFlags   u32  bit 0: encrypted, key slots follow. A reader refuses a bit it does not know
 * 20  optionalFlags   u32  a reader ignores a bit it does not know
 * 24  chunker         u8   0 fixed, 1 FastCDC
 * 25  codec           u8   tried on every block: 0 raw, 1 LZ4, 2 Zstd
 * 26  level           u8   the codec's level, 0 when it has none
 * 27  digest          u8   1 BLAKE3-256
 * 28  cipher          u8   0 none, 1 AES-256-GCM
 * 29  keySlotCount    u8   0 or 16
 * 30  keySlotSize     u16  0 or 640
 * 32  chunkSizeMin    u32
 * 36  chunkSizeAvg    u32  the block size of the fixed chunker
 * 40  chunkSizeMax    u32
 * 44  profile         u8 size, then printable ASCII
 *     streamCount     u8, then each name: u8 size, then a-z 0-9 . _ -, a letter or digit first
 *     checksum        u32  CRC-32 of all header bytes before it
 */

/** PNG's idea: catches text-mode transfers, line-end conversion and `type file`. */
export const headerMagic = Uint8Array.of(0x89, 0x48, 0x45, 0x58, 0x5a, 0x0d, 0x0a, 0x1a)
export const formatVersion = { major: 1, minor: 0 } as const
/** Enough bytes to learn how large the header is. */
export const headerPreludeSize = 16
const flagEncrypted = 1
/** A header with an empty profile and one stream name of one byte. */
const headerSizeMin = 52

export const chunkerNames = ['fixed', 'fastcdc'] as const
export type ChunkerName = (typeof chunkerNames)[number]

/** What a reader needs to know before the first frame. Sizes in bytes. */
export interface Header {
  readonly major: number
  readonly minor: number
  readonly profile: string
  readonly chunker: ChunkerName
  readonly codec: CodecName
  readonly level: number
  readonly chunkSizeMin: number
  readonly chunkSizeAvg: number
  readonly chunkSizeMax: number
  readonly encrypted: boolean
  readonly streams: readonly string[]
}

/** Stream names become names of files and parts of URLs, and are shown on terminals. */
export function isStreamName(name: string): boolean {
  return /^[a-z0-9][a-z0-9._-]{0,63}$/.test(name)
}

/** Printable ASCII; may be empty. */
function isProfileName(name: string): boolean {
  return /^[ -~]{0,32}$/.test(name)
}

/** The header's bytes without key slots. */
export function encodeHeader(header: Header): Uint8Array {
  const profile = Buffer.from(header.profile)
  const names = header.streams.map((name) => Buffer.from(name))
  const size = 44 + 1 + profile.length + 1 + names.reduce((sum, name) => sum + 1 + name.length, 0) + 4
  if (size > limits.headerSizeMax)
    throw new LimitError(`the header would take ${size} bytes; at most ${limits.headerSizeMax} fit`)
  if (!areNamesSized(profile, names)) throw new LimitError(`a name is too long for the header, or empty`)
  const odd = header.streams.find((name) => !isStreamName(name))
  if (odd !== undefined || !isProfileName(header.profile))
    throw new UsageError(`"${odd ?? header.profile}" is not a name for a header`)
  const fields = writeFields(size)
    .bytes(headerMagic)
    .u16(header.major)
    .u16(header.minor)
    .u32(size)
    .u32(header.encrypted ? flagEncrypted : 0)
    .u32(0)
    .u8(chunkerNames.indexOf(header.chunker))
    .u8(codecNames.indexOf(header.codec))
    .u8(header.level)
    .u8(1)
    .u8(header.encrypted ? 1 : 0)
    .u8(header.encrypted ? limits.keySlotCount : 0)
    .u16(header.encrypted ? limits.keySlotSize : 0)
    .u32(header.chunkSizeMin)
    .u32(header.chunkSizeAvg)
    .u32(header.chunkSizeMax)
    .u8(profile.length)
    .bytes(profile)
    .u8(names.length)
  for (const name of names) fields.u8(name.length).bytes(name)
  const bytes = fields.zeros(4).done()
  new DataView(bytes.buffer).setUint32(size - 4, crc32(bytes.subarray(0, size - 4)), true)
  return bytes
}

/** Whether profile and stream names are within their limits, in bytes of UTF-8. */
function areNamesSized(profile: Uint8Array, names: readonly Uint8Array[]): boolean {
  return (
    profile.length <= limits.profileNameSizeMax &&
    names.every((name) => name.length > 0 && name.length <= limits.streamNameSizeMax)
  )
}

/** Size of the key slots behind a header. */
export function keySlotsSize(header: Header): number {
  return header.encrypted ? limits.keySlotCount * limits.keySlotSize : 0
}

/**
 * Size of the whole header, from its first 16 bytes.
 * @throws CorruptError NOT_A_SNAPSHOT when the magic is not there; INCOMPLETE when cut; BAD_STRUCTURE
 */
export function readHeaderSize(prelude: Uint8Array, where: string): number {
  const magic = prelude.subarray(0, headerMagic.length)
  if (magic.length === 0) {
    throw new CorruptError('NOT_A_SNAPSHOT', `${where} is empty, not a snapshot`, { where, offset: 0 })
  }
  if (magic.some((byte, i) => byte !== headerMagic[i])) {
    throw new CorruptError('NOT_A_SNAPSHOT', `${where} is not a snapshot, or its first bytes are damaged`, {
      where,
      offset: 0
    })
  }
  if (prelude.length < headerPreludeSize) throw cutHeader(where)
  const size = readFields(prelude.subarray(12, 16), where).u32()
  if (size < headerSizeMin || size > limits.headerSizeMax) {
    throw new CorruptError('BAD_STRUCTURE', `the header of ${where} is damaged: it claims ${size} bytes`, {
      where,
      offset: 12,
      found: size
    })
  }
  return size
}

export function cutHeader(where: string): CorruptError {
  return new CorruptError('INCOMPLETE', `${where} is incomplete: it ends inside its header`, { where })
}

/**
 * @param bytes exactly `readHeaderSize()` bytes
 * @throws CorruptError BAD_CHECKSUM, BAD_STRUCTURE; UnsupportedError NEWER_VERSION, UNKNOWN_FEATURE
 */
export function decodeHeader(bytes: Uint8Array, where: string): Header {
  const body = bytes.subarray(0, bytes.length - 4)
  const expected = readFields(bytes.subarray(bytes.length - 4), where).u32()
  const found = crc32(body)
  if (found !== expected) {
    throw new CorruptError('BAD_CHECKSUM', `the header of ${where} is damaged: its checksum is wrong`, {
      where,
      offset: 0,
      expected,
      found
    })
  }
  const fields = readFields(body, `the header of ${where}`)
  fields.bytes(headerMagic.length)
  const major = fields.u16()
  const minor = fields.u16()
  if (major > formatVersion.major) {
    throw new UnsupportedError(
      'NEWER_VERSION',
      `${where} has format ${major}.${minor}; this hexz reads up to ${formatVersion.major}.x: use a newer hexz`,
      {
        where,
        found: `${major}.${minor}`
      }
    )
  }
  if (major === 0)
    throw new CorruptError('BAD_STRUCTURE', `the header of ${where} is damaged: format 0.${minor}`, {
      where,
      offset: 8,
      found: `0.${minor}`
    })
  fields.u32()
  const requiredFlags = fields.u32()
  if ((requiredFlags & ~flagEncrypted) !== 0) {
    throw unknown(where, 'required flags', requiredFlags)
  }
  fields.u32()
  const encrypted = (requiredFlags & flagEncrypted) !== 0
  return { major, minor, ...decodeSettings(fields, where, encrypted) }
}

function decodeSettings(
  fields: FieldReader,
  where: string,
  encrypted: boolean
): Omit<Header, 'major' | 'minor'> {
  const chunker = named(chunkerNames, fields.u8(), where, 'chunker')
  const codec = named(codecNames, fields.u8(), where, 'codec')
  const level = fields.u8()
  const digest = fields.u8()
  if (digest !== 1) throw unknown(where, 'digest', digest)
  const cipher = fields.u8()
  if (cipher > 1) throw unknown(where, 'cipher', cipher)
  if (cipher !== (encrypted ? 1 : 0)) throw broken(where, `cipher ${cipher} does not go with its flags`)
  const slotCount = fields.u8()
  const slotSize = fields.u16()
  if (
    slotCount !== (encrypted ? limits.keySlotCount : 0) ||
    slotSize !== (encrypted ? limits.keySlotSize : 0)
  ) {
    throw unknown(where, 'key slot layout', slotCount)
  }
  const chunkSizeMin = fields.u32()
  const chunkSizeAvg = fields.u32()
  const chunkSizeMax = fields.u32()
  if (
    chunkSizeMin < limits.chunkSizeMin ||
    chunkSizeMin > chunkSizeAvg ||
    chunkSizeAvg > chunkSizeMax ||
    chunkSizeMax > limits.chunkSizeMax
  ) {
    throw broken(where, `chunk sizes ${chunkSizeMin}, ${chunkSizeAvg}, ${chunkSizeMax}`)
  }
  if (chunker === 'fixed' && chunkSizeMin !== chunkSizeMax)
    throw broken(where, `chunks of a fixed size have ${chunkSizeMin} to ${chunkSizeMax} bytes`)
  const profile = fields.text(fields.u8())
  if (!isProfileName(profile)) throw broken(where, 'its profile is not up to 32 letters of printable ASCII')
  const streams = Array.from({ length: fields.u8() }, () => fields.text(fields.u8()))
  fields.end()
  if (
    streams.length === 0 ||
    streams.length > limits.streamCountMax ||
    new Set(streams).size !== streams.length
  ) {
    throw broken(where, `it names ${streams.length} streams`)
  }
  if (!streams.every(isStreamName))
    throw broken(where, 'a stream name in it is not up to 64 of a-z 0-9 . _ -')
  return {
    profile,
    chunker,
    codec,
    level,
    chunkSizeMin,
    chunkSizeAvg,
    chunkSizeMax,
    encrypted,
    streams
  }
}

function broken(where: string, why: string): CorruptError {
  return new CorruptError('BAD_STRUCTURE', `the header of ${where} is damaged: ${why}`, { where })
}

function named<Name extends string>(
  names: readonly Name[],
  value: number,
  where: string,
  what: string
): Name {
  const name = names[value]
  if (name === undefined) throw unknown(where, what, value)
  return name
}

function unknown(where: string, what: string, found: number): UnsupportedError {
  return new UnsupportedError(
    'UNKNOWN_FEATURE',
    `${where} uses ${what} ${found}, which this hexz does not know: use a newer hexz`,
    { where, found }
  )
}
