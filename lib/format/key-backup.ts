import { CorruptError, UnsupportedError } from '../errors.js'
import { formatLimits as limits } from '../limits.js'
import { readFields, writeFields } from './bytes.js'
import { blake3 } from './digest.js'
import { footerSize, splitFooter } from './footer.js'
import { decodeHeader, keySlotsSize, readHeaderSize, type Header } from './header.js'

/*
 * Key backup: the header and the key slots of a snapshot, in a file of their own, and what tells which snapshot it is.
 *
 *   0  magic     8   89 48 58 5A 4B 45 59 0A
 *   8  version   u32  1
 *  12  headSize  u32  of header and key slots
 *  16  fileSize  u64  of the snapshot
 *  24  footer    96   the last bytes of the snapshot. Snapshots that differ have other ones: the snapshot digest is in them, in clear
 *                     or under a key of that snapshot alone
 * 120  head           header and key slots, as they lie in the snapshot
 *      digest    32   BLAKE3 of all bytes before it
 */

const magic = Uint8Array.of(0x89, 0x48, 0x58, 0x5a, 0x4b, 0x45, 0x59, 0x0a)
const version = 1
const headOffset = 24 + footerSize
const digestSize = 32
/** A longer file is none. */
export const keyBackupSizeMax =
  headOffset + limits.headerSizeMax + limits.keySlotCount * limits.keySlotSize + digestSize

export interface KeyBackup {
  /** Of the snapshot. Bytes. */
  readonly fileSize: number
  readonly footer: Uint8Array
  /** The header without key slots. */
  readonly headerBytes: Uint8Array
  readonly header: Header
  /** The key slots; empty when the snapshot is not encrypted. */
  readonly area: Uint8Array
}

export function encodeKeyBackup({ fileSize, footer, headerBytes, area }: KeyBackup): Uint8Array {
  const headSize = headerBytes.length + area.length
  const fields = writeFields(headOffset + headSize)
  fields.bytes(magic).u32(version).u32(headSize).u64(fileSize).bytes(footer).bytes(headerBytes).bytes(area)
  const bytes = fields.done()
  return Buffer.concat([bytes, blake3(bytes)])
}

/** @throws CorruptError NOT_A_SNAPSHOT, INCOMPLETE, BAD_DIGEST, BAD_STRUCTURE; UnsupportedError NEWER_VERSION */
export function decodeKeyBackup(bytes: Uint8Array, where: string): KeyBackup {
  if (Buffer.compare(bytes.subarray(0, magic.length), magic) !== 0)
    throw new CorruptError('NOT_A_SNAPSHOT', `${where} is not a key backup, or its first bytes are damaged`, {
      where,
      offset: 0
    })
  if (bytes.length < headOffset) throw cut(where)
  const fields = readFields(bytes, where)
  fields.bytes(magic.length)
  const found = fields.u32()
  const headSize = fields.u32()
  if (found === version) checkWhole(bytes, headSize, where)
  else
    throw new UnsupportedError(
      'NEWER_VERSION',
      `${where} is a key backup of version ${found}, which this hexz does not know: use a newer hexz`,
      { where, found }
    )
  const fileSize = fields.u64()
  const footer = fields.bytes(footerSize)
  splitFooter(footer, `the footer in ${where}`)
  const head = fields.bytes(headSize)
  const headerSize = readHeaderSize(head, where)
  const headerBytes = head.subarray(0, headerSize)
  const header = decodeHeader(headerBytes, where)
  const area = head.subarray(headerSize)
  if (area.length !== keySlotsSize(header))
    throw new CorruptError('BAD_STRUCTURE', `${where} is damaged: its sizes are wrong`, { where })
  return { fileSize, footer, headerBytes, header, area }
}

function checkWhole(bytes: Uint8Array, headSize: number, where: string): void {
  const end = headOffset + headSize
  if (bytes.length < end + digestSize) throw cut(where)
  if (
    bytes.length > end + digestSize ||
    Buffer.compare(blake3(bytes.subarray(0, end)), bytes.subarray(end)) !== 0
  )
    throw new CorruptError('BAD_DIGEST', `${where} is damaged: its digest is wrong`, { where })
}

function cut(where: string): CorruptError {
  return new CorruptError('INCOMPLETE', `${where} is incomplete: a part of the key backup is missing`, {
    where
  })
}
