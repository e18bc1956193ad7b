import { printable } from '../printable.js'
import {
  allocationContext,
  handshakeFlag,
  infoType,
  magic,
  nbdError,
  optionReply,
  replyFlagDone,
  replyType,
  type NbdError
} from './constants.js'

/**
 * Messages of the NBD protocol to bytes and back, as its document has them (proto.md of
 * https://github.com/NetworkBlockDevice/nbd). All numbers are big-endian. Nothing here knows of sockets.
 *
 * A decoder gives `undefined` for bytes that cannot be a message; the caller says what that means.
 */

/** "Newstyle negotiation": NBDMAGIC, IHAVEOPT, handshake flags. */
export function encodeGreeting(): Buffer {
  const bytes = Buffer.alloc(18)
  bytes.writeBigUInt64BE(magic.greeting, 0)
  bytes.writeBigUInt64BE(magic.option, 8)
  bytes.writeUInt16BE(handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes, 16)
  return bytes
}

/** The client's answer: 32 bits of flags, of which a server must refuse those that it did not offer. */
export const clientFlagsSize = 4
export function decodeClientFlags(bytes: Uint8Array): { noZeroes: boolean } | undefined {
  const flags = viewOf(bytes).getUint32(0)
  if (flags > (handshakeFlag.fixedNewstyle | handshakeFlag.noZeroes)) return undefined
  return { noZeroes: (flags & handshakeFlag.noZeroes) !== 0 }
}

/** IHAVEOPT, 32 bits of option, 32 bits of length of the data that follow. */
export const optionHeaderSize = 16
export function decodeOptionHeader(bytes: Uint8Array): { option: number; size: number } | undefined {
  const view = viewOf(bytes)
  if (view.getBigUint64(0) !== magic.option) return undefined
  return { option: view.getUint32(8), size: view.getUint32(12) }
}

/** Magic, the option answered, reply type, length, data. */
export function encodeOptionReply(option: number, type: number, data: Uint8Array = noBytes): Buffer {
  const bytes = Buffer.alloc(20 + data.length)
  bytes.writeBigUInt64BE(magic.optionReply, 0)
  bytes.writeUInt32BE(option, 8)
  bytes.writeUInt32BE(type, 12)
  bytes.writeUInt32BE(data.length, 16)
  bytes.set(data, 20)
  return bytes
}

/** NBD_REP_SERVER: length and text of an export's name. */
export function encodeServerReply(option: number, name: string): Buffer {
  const text = Buffer.from(name)
  const data = Buffer.alloc(4 + text.length)
  data.writeUInt32BE(text.length, 0)
  data.set(text, 4)
  return encodeOptionReply(option, optionReply.server, data)
}

/** NBD_REP_INFO with NBD_INFO_EXPORT: size and transmission flags. */
export function encodeExportInfo(option: number, size: number, flags: number): Buffer {
  const data = Buffer.alloc(12)
  data.writeUInt16BE(infoType.export, 0)
  data.writeBigUInt64BE(BigInt(size), 2)
  data.writeUInt16BE(flags, 10)
  return encodeOptionReply(option, optionReply.info, data)
}

/** NBD_REP_INFO with NBD_INFO_NAME or NBD_INFO_DESCRIPTION. */
export function encodeTextInfo(option: number, type: number, value: string): Buffer {
  const text = Buffer.from(value)
  const data = Buffer.alloc(2 + text.length)
  data.writeUInt16BE(type, 0)
  data.set(text, 2)
  return encodeOptionReply(option, optionReply.info, data)
}

/** NBD_REP_INFO with NBD_INFO_BLOCK_SIZE: smallest, preferred and largest request. */
export function encodeBlockSizeInfo(option: number, sizes: readonly [number, number, number]): Buffer {
  const data = Buffer.alloc(14)
  data.writeUInt16BE(infoType.blockSize, 0)
  sizes.forEach((size, i) => data.writeUInt32BE(size, 2 + 4 * i))
  return encodeOptionReply(option, optionReply.info, data)
}

/** NBD_REP_META_CONTEXT: id and name. */
export function encodeMetaContext(option: number, id: number): Buffer {
  const data = Buffer.alloc(4 + allocationContext.name.length)
  data.writeUInt32BE(id, 0)
  data.write(allocationContext.name, 4)
  return encodeOptionReply(option, optionReply.metaContext, data)
}

/** The answer to NBD_OPT_EXPORT_NAME, which has no header: size, flags, 124 zeros unless waived. */
export function encodeExportNameReply(size: number, flags: number, noZeroes: boolean): Buffer {
  const bytes = Buffer.alloc(noZeroes ? 10 : 134)
  bytes.writeBigUInt64BE(BigInt(size), 0)
  bytes.writeUInt16BE(flags, 8)
  return bytes
}

/** Data of NBD_OPT_INFO and NBD_OPT_GO: a name, and 16 bits for each information asked for. */
export function decodeInfoRequest(data: Uint8Array): { name: string; types: number[] } | undefined {
  const name = decodeString(data, 0)
  if (name === undefined || name.end + 2 > data.length) return undefined
  const view = viewOf(data)
  const count = view.getUint16(name.end)
  if (data.length !== name.end + 2 + 2 * count) return undefined
  return {
    name: name.text,
    types: Array.from({ length: count }, (_, i) => view.getUint16(name.end + 2 + 2 * i))
  }
}

/** Data of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT: a name and queries. */
export function decodeMetaContextRequest(data: Uint8Array): { name: string; queries: string[] } | undefined {
  const name = decodeString(data, 0)
  if (name === undefined || name.end + 4 > data.length) return undefined
  const count = viewOf(data).getUint32(name.end)
  const queries: string[] = []
  let offset = name.end + 4
  for (let i = 0; i < count; i++) {
    const query = decodeString(data, offset)
    if (query === undefined) return undefined
    queries.push(query.text)
    offset = query.end
  }
  return offset === data.length ? { name: name.text, queries } : undefined
}

function decodeString(data: Uint8Array, offset: number): { text: string; end: number } | undefined {
  if (offset + 4 > data.length) return undefined
  const end = offset + 4 + viewOf(data).getUint32(offset)
  if (end > data.length) return undefined
  return { text: decodeText(data.subarray(offset + 4, end)), end }
}

export function decodeText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}

/** A request of the transmission phase. */
export interface Request {
  readonly flags: number
  readonly type: number
  /** The client's own name for the request, given back with each reply. */
  readonly cookie: bigint
  /** Bytes; infinite when it is not below 2^53, which no export reaches. */
  readonly offset: number
  readonly length: number
}

/** "Request message": magic, command flags, type, cookie, offset, length. */
export const requestSize = 28
export function decodeRequest(bytes: Uint8Array): Request | undefined {
  const view = viewOf(bytes)
  if (view.getUint32(0) !== magic.request) return undefined
  const high = view.getUint32(16)
  return {
    flags: view.getUint16(4),
    type: view.getUint16(6),
    cookie: view.getBigUint64(8),
    offset: high < 2 ** 21 ? high * 2 ** 32 + view.getUint32(20) : Infinity,
    length: view.getUint32(24)
  }
}

/** "Simple reply message"; what is read follows a reply without an error. */
export const simpleReplySize = 16
export function encodeSimpleReply(cookie: bigint, error?: NbdError): Buffer {
  const bytes = Buffer.allocUnsafe(simpleReplySize)
  bytes.writeUInt32BE(magic.simpleReply, 0)
  bytes.writeUInt32BE(error === undefined ? 0 : nbdError[error], 4)
  bytes.writeBigUInt64BE(cookie, 8)
  return bytes
}

/** A structured reply chunk: which request it answers, and whether it is the last. */
export interface ReplyChunk {
  readonly cookie: bigint
  readonly isLast: boolean
}

const chunkHeaderSize = 20

/** "Structured reply chunk message" with room for a payload that starts with `fieldSize` bytes of fields. */
function chunk({ cookie, isLast }: ReplyChunk, type: number, fieldSize: number, dataSize = 0): Buffer {
  const bytes = Buffer.allocUnsafe(chunkHeaderSize + fieldSize)
  bytes.writeUInt32BE(magic.structuredReply, 0)
  bytes.writeUInt16BE(isLast ? replyFlagDone : 0, 4)
  bytes.writeUInt16BE(type, 6)
  bytes.writeBigUInt64BE(cookie, 8)
  bytes.writeUInt32BE(fieldSize + dataSize, 16)
  return bytes
}

/** NBD_REPLY_TYPE_NONE: done, and nothing to say. */
export function encodeNone(cookie: bigint): Buffer {
  return chunk({ cookie, isLast: true }, replyType.none, 0)
}

/** NBD_REPLY_TYPE_OFFSET_DATA; `size` bytes of data follow. */
export const dataHeaderSize = chunkHeaderSize + 8
export function encodeDataHeader(reply: ReplyChunk, offset: number, size: number): Buffer {
  const bytes = chunk(reply, replyType.offsetData, 8, size)
  writeOffset(bytes, offset, chunkHeaderSize)
  return bytes
}

/** NBD_REPLY_TYPE_OFFSET_HOLE: `size` zeros that are not sent. */
export function encodeHole(reply: ReplyChunk, offset: number, size: number): Buffer {
  const bytes = chunk(reply, replyType.offsetHole, 12)
  writeOffset(bytes, offset, chunkHeaderSize)
  bytes.writeUInt32BE(size, chunkHeaderSize + 8)
  return bytes
}

/** NBD_REPLY_TYPE_ERROR; with an offset NBD_REPLY_TYPE_ERROR_OFFSET. The message is for people. */
export function encodeError(reply: ReplyChunk, error: NbdError, message: string, offset?: number): Buffer {
  const room = new Uint8Array(1024)
  const text = room.subarray(0, new TextEncoder().encodeInto(printable(message), room).written)
  const hasOffset = offset !== undefined
  const bytes = chunk(
    reply,
    hasOffset ? replyType.errorOffset : replyType.error,
    6 + text.length + (hasOffset ? 8 : 0)
  )
  bytes.writeUInt32BE(nbdError[error], chunkHeaderSize)
  bytes.writeUInt16BE(text.length, chunkHeaderSize + 4)
  bytes.set(text, chunkHeaderSize + 6)
  if (hasOffset) writeOffset(bytes, offset, chunkHeaderSize + 6 + text.length)
  return bytes
}

/** NBD_REPLY_TYPE_BLOCK_STATUS of `base:allocation`: length and state of each extent in turn. */
export function encodeBlockStatus(
  cookie: bigint,
  extents: readonly { readonly size: number; readonly state: number }[]
): Buffer {
  const bytes = chunk({ cookie, isLast: true }, replyType.blockStatus, 4 + 8 * extents.length)
  bytes.writeUInt32BE(allocationContext.id, chunkHeaderSize)
  extents.forEach(({ size, state }, i) => {
    bytes.writeUInt32BE(size, chunkHeaderSize + 4 + 8 * i)
    bytes.writeUInt32BE(state, chunkHeaderSize + 8 + 8 * i)
  })
  return bytes
}

/** An offset below 2^53, without the detour through a BigInt. */
function writeOffset(bytes: Buffer, offset: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(offset / 2 ** 32), at)
  bytes.writeUInt32BE(offset % 2 ** 32, at + 4)
}

const noBytes = new Uint8Array(0)

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
