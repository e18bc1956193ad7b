import { crc32 } from 'node:zlib'
import { CorruptError } from '../errors.js'
import { formatLimits as limits } from '../limits.js'
import { readFields, writeFields } from './bytes.js'
import type { Handle } from './index-root.js'
import { blake3Of } from './digest.js'

/*
 * Footer: the last 96 bytes of a snapshot.
 *
 *  0  body            64  rootOffset u64, rootSize u32 (whole frame), 4 zero bytes, fileSize u64,
 *                         snapshotDigest 32, 8 zero bytes; AES-256-GCM ciphertext when encrypted
 * 64  tag             16  GCM tag; zeros when not encrypted
 * 80  reserved        u32 zero
 * 84  checksum        u32 CRC-32 of the 84 bytes before it
 * 88  magic           8   "HEXZEND\n"
 */

export const footerSize = 96
export const footerBodySize = 64
export const footerTagSize = 16
const checksumOffset = 84
const magicOffset = 88
const footerMagic = Buffer.from('HEXZEND\n')

export interface Footer {
  readonly root: Handle
  readonly fileSize: number
  readonly snapshotDigest: Uint8Array
}

/** The one digest that stands for a whole snapshot: header (without key slots) and raw index root. */
export function digestSnapshot(header: Uint8Array, root: Uint8Array): Uint8Array {
  return blake3Of([Buffer.from('hexz snapshot 1\0'), header, root])
}

export function encodeFooterBody(footer: Footer): Uint8Array {
  return writeFields(footerBodySize)
    .u64(footer.root.offset)
    .u32(footer.root.size)
    .zeros(4)
    .u64(footer.fileSize)
    .bytes(footer.snapshotDigest)
    .zeros(8)
    .done()
}

/** @param tag 16 bytes: the GCM tag of `body`, or zeros */
export function encodeFooter(body: Uint8Array, tag: Uint8Array = new Uint8Array(footerTagSize)): Uint8Array {
  const bytes = writeFields(footerSize).bytes(body).bytes(tag).zeros(8).bytes(footerMagic).done()
  new DataView(bytes.buffer).setUint32(checksumOffset, crc32(bytes.subarray(0, checksumOffset)), true)
  return bytes
}

export interface SealedFooter {
  readonly body: Uint8Array
  readonly tag: Uint8Array
}

/**
 * @param bytes the last 96 bytes of the file
 * @throws CorruptError INCOMPLETE when no footer is there; BAD_CHECKSUM
 */
export function splitFooter(bytes: Uint8Array, where: string): SealedFooter {
  if (bytes.length < footerSize || Buffer.compare(bytes.subarray(magicOffset), footerMagic) !== 0) {
    throw new CorruptError(
      'INCOMPLETE',
      `${where} is incomplete: it does not end with a footer, because it was cut off or something was appended; hexz recover gets back what is whole`,
      { where }
    )
  }
  const expected = readFields(bytes.subarray(checksumOffset, magicOffset), where).u32()
  const found = crc32(bytes.subarray(0, checksumOffset))
  if (found !== expected) {
    throw new CorruptError('BAD_CHECKSUM', `the footer of ${where} is damaged: its checksum is wrong`, {
      where,
      expected,
      found
    })
  }
  return {
    body: bytes.subarray(0, footerBodySize),
    tag: bytes.subarray(footerBodySize, footerBodySize + footerTagSize)
  }
}

/**
 * @param fileSize the size of the file that the footer was read from
 * @throws CorruptError BAD_STRUCTURE when the footer speaks of another file
 */
export function decodeFooterBody(body: Uint8Array, where: string, fileSize: number): Footer {
  const fields = readFields(body, `the footer of ${where}`)
  const root = { offset: fields.u64(), size: fields.u32() }
  fields.bytes(4)
  const footer = { root, fileSize: fields.u64(), snapshotDigest: fields.bytes(32) }
  if (footer.fileSize !== fileSize) {
    throw new CorruptError(
      'BAD_STRUCTURE',
      `${where} is ${fileSize} bytes long, but its footer says ${footer.fileSize}: bytes were added or lost`,
      {
        where,
        expected: footer.fileSize,
        found: fileSize
      }
    )
  }
  if (root.offset + root.size !== fileSize - footerSize || root.size > limits.rootRawSizeMax) {
    throw new CorruptError(
      'BAD_STRUCTURE',
      `the footer of ${where} is damaged: its index root lies at ${root.offset}`,
      { where }
    )
  }
  return footer
}
