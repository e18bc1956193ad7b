import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** An NBD client for tests that shows every byte, and lets any be sent. */
export interface RawClient {
  readonly socket: Socket
  send(...pieces: Uint8Array[]): void
  /** Exactly `size` bytes; fails when the server closes before. */
  take(size: number): Promise<Buffer>
  /** Resolves when the server has closed, with what it sent until then. */
  rest(): Promise<Buffer>
  close(): void
}

export async function connectRaw(path: string): Promise<RawClient> {
  const socket = connect(path)
  await once(socket, 'connect')
  let held = Buffer.alloc(0)
  let isClosed = false
  let wake = (): void => undefined
  socket.on('error', () => undefined)
  socket.on('data', (bytes: Buffer) => {
    held = Buffer.concat([held, bytes])
    wake()
  })
  socket.on('close', () => {
    isClosed = true
    wake()
  })
  const more = (): Promise<void> => new Promise((resolve) => (wake = resolve))
  return {
    socket,
    send: (...pieces) => void socket.write(Buffer.concat(pieces)),
    async take(size) {
      while (held.length < size) {
        if (isClosed) throw new Error(`the server closed after ${held.length} of ${size} bytes`)
        await more()
      }
      const taken = held.subarray(0, size)
      held = held.subarray(size)
      return taken
    },
    async rest() {
      while (!isClosed) await more()
      return held
    },
    close: () => socket.destroy()
  }
}

export const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255])
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
export const u64 = (value: number | bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

/** NBD_FLAG_C_FIXED_NEWSTYLE and NBD_FLAG_C_NO_ZEROES. */
export const clientFlags = u32(3)

/** An option with its data. */
export function optionBytes(type: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from('IHAVEOPT'), u32(type), u32(data.length), data])
}

/** Data of NBD_OPT_GO for an export, with no information asked for. */
export function goData(name: string): Buffer {
  return Buffer.concat([u32(name.length), Buffer.from(name), u16(0)])
}

export interface OptionReply {
  readonly option: number
  readonly type: number
  readonly data: Buffer
}

export async function takeOptionReply(client: RawClient): Promise<OptionReply> {
  const header = await client.take(20)
  if (header.subarray(0, 8).toString('hex') !== '0003e889045565a9') throw new Error('no option reply')
  const data = await client.take(header.readUInt32BE(16))
  return { option: header.readUInt32BE(8), type: header.readUInt32BE(12), data }
}

/** Replies to one option, up to the one that ends them: an acknowledgement or an error. */
export async function takeOptionReplies(client: RawClient): Promise<OptionReply[]> {
  const replies: OptionReply[] = []
  for (;;) {
    const reply = await takeOptionReply(client)
    replies.push(reply)
    if (reply.type === 1 || reply.type >= 0x80000000) return replies
  }
}

/** Greets and waits until options can be sent. */
export async function greet(path: string): Promise<RawClient> {
  const client = await connectRaw(path)
  await client.take(18)
  client.send(clientFlags)
  return client
}

/** A client in the transmission phase. */
export async function enter(
  path: string,
  { name = '', structured = true, allocation = false } = {}
): Promise<RawClient> {
  const client = await greet(path)
  const option = async (type: number, data?: Uint8Array): Promise<void> => {
    client.send(optionBytes(type, data))
    const last = (await takeOptionReplies(client)).at(-1)
    if (last?.type !== 1) throw new Error(`option ${type} was answered with ${last?.type ?? 'nothing'}`)
  }
  if (structured) await option(8)
  if (allocation) {
    const context = 'base:allocation'
    await option(
      10,
      Buffer.concat([u32(name.length), Buffer.from(name), u32(1), u32(context.length), Buffer.from(context)])
    )
  }
  await option(7, goData(name))
  return client
}

export interface RequestFields {
  readonly type?: number
  readonly flags?: number
  readonly cookie?: number | bigint
  readonly offset?: number | bigint
  readonly length?: number
}

export function requestBytes({
  type = 0,
  flags = 0,
  cookie = 1,
  offset = 0,
  length = 0
}: RequestFields): Buffer {
  return Buffer.concat([u32(0x25609513), u16(flags), u16(type), u64(cookie), u64(offset), u32(length)])
}

export interface Chunk {
  readonly cookie: bigint
  readonly isLast: boolean
  readonly type: number
  readonly payload: Buffer
}

/** One chunk of a structured reply. */
export async function takeChunk(client: RawClient): Promise<Chunk> {
  const header = await client.take(20)
  if (header.readUInt32BE(0) !== 0x668e33ef) throw new Error('no structured reply')
  const payload = await client.take(header.readUInt32BE(16))
  return {
    cookie: header.readBigUInt64BE(8),
    isLast: header.readUInt16BE(4) === 1,
    type: header.readUInt16BE(6),
    payload
  }
}

/** All chunks of the only request in work. */
export async function takeChunks(client: RawClient): Promise<Chunk[]> {
  const chunks: Chunk[] = []
  do chunks.push(await takeChunk(client))
  while (chunks.at(-1)?.isLast !== true)
  return chunks
}

/** The bytes of a structured reply to a read; the data must cover the range exactly. */
export function bytesOfChunks(chunks: readonly Chunk[], offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length, 0xee)
  let covered = 0
  for (const { type, payload } of chunks) {
    const at = Number(payload.readBigUInt64BE(0)) - offset
    const size = type === 2 ? payload.readUInt32BE(8) : payload.length - 8
    if (type === 2) bytes.fill(0, at, at + size)
    else if (type === 1) payload.copy(bytes, at, 8)
    else throw new Error(`chunk of type ${type}`)
    covered += size
  }
  if (covered !== length) throw new Error(`${covered} of ${length} bytes came`)
  return bytes
}

/** Reads a range in the transmission phase with structured replies, nothing else being in work. */
export async function readRange(client: RawClient, offset: number, length: number): Promise<Buffer> {
  client.send(requestBytes({ offset, length, cookie: 77 }))
  return bytesOfChunks(await takeChunks(client), offset, length)
}

/** Error number and message of an error chunk. */
export function errorOf({ type, payload }: Chunk): { error: number; message: string } {
  if (type < 0x8000) throw new Error(`chunk of type ${type} is no error`)
  return {
    error: payload.readUInt32BE(0),
    message: payload.toString('utf8', 6, 6 + payload.readUInt16BE(4))
  }
}
