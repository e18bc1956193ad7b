import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createRawServer, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

/** One request that the server got. */
export interface SeenRequest {
  /** Bytes asked for; `end` is behind the last. */
  readonly start: number
  readonly end: number
  readonly headers: IncomingMessage['headers']
}

export interface FileServer {
  readonly url: string
  readonly seen: readonly SeenRequest[]
  /** Bytes of bodies that were given. */
  readonly sentSize: () => number
}

/** What an answer would be, for a fault to change. */
export interface Answer {
  status: number
  headers: Record<string, string>
  body: Buffer
}

/**
 * A fault at a request, counted from 0. May change the answer, or give one itself and return `done`.
 */
export type Fault = (
  count: number,
  answer: Answer,
  response: ServerResponse,
  request: IncomingMessage
) => 'done' | undefined

/** Serves bytes at `/vm.st` with ranges, ETag and If-Range, as static servers do, until the test ends. */
export async function serveFile(t: Test, bytes: Buffer, fault: Fault = () => undefined): Promise<FileServer> {
  const seen: SeenRequest[] = []
  let sentSize = 0
  const server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    const start = Number(first)
    const end = Math.min(bytes.length, Number(last) + 1)
    seen.push({ start, end: Number(last) + 1, headers: request.headers })
    const answer: Answer =
      start < bytes.length
        ? {
            status: 206,
            headers: { etag: '"1"', 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` },
            body: bytes.subarray(start, end)
          }
        : { status: 416, headers: { 'content-range': `bytes */${bytes.length}` }, body: Buffer.alloc(0) }
    if (fault(seen.length - 1, answer, response, request) === 'done') return
    sentSize += answer.body.length
    response.writeHead(answer.status, { 'content-length': answer.body.length, ...answer.headers })
    response.end(answer.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}/vm.st`, seen, sentSize: () => sentSize }
}

/** A server of bytes as they are: `answer` writes to the socket what it likes for each request, counted from 0. */
export async function serveRaw(
  t: Test,
  answer: (socket: Socket, count: number, request: string) => void
): Promise<{ readonly url: string; readonly requestCount: () => number; readonly openCount: () => number }> {
  let count = 0
  const sockets = new Set<Socket>()
  const server = createRawServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    let held = ''
    socket.on('data', (bytes: Buffer) => {
      held += bytes.toString('latin1')
      for (let end = held.indexOf('\r\n\r\n'); end >= 0; end = held.indexOf('\r\n\r\n')) {
        const request = held.slice(0, end)
        held = held.slice(end + 4)
        answer(socket, count++, request)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/vm.st`,
    requestCount: () => count,
    openCount: () => sockets.size
  }
}
