import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { serveLimits } from '../limits.js'
import { authorityOf, isLocal, listen, uriPath, type Address } from './address.js'
import { chooseRange } from './http-range.js'
import { indexPage } from './index-page.js'
import type { Listener } from './nbd-server.js'
import type { SharedReader } from './shared-reader.js'

/**
 * Serves each stream of a snapshot as a file of its name, with ranges, and a page that lists them.
 *
 * @throws TargetError when the address can't be had
 */
export async function serveHttp(
  reader: SharedReader,
  address: Address,
  onProblem: (error: unknown) => void
): Promise<Listener> {
  const server = createServer({
    headersTimeout: serveLimits.handshakeMs,
    requestTimeout: serveLimits.lingerMs,
    connectionsCheckingInterval: 1000
  })
  server.maxConnections = serveLimits.connectionCountMax
  server.on('request', (request, response) => {
    request.resume() // a body is of no use, but must go by
    answer(reader, isLocal(address), request, response).catch((error: unknown) => {
      response.destroy() // half an answer: the client sees that it is cut off
      if (!isGone(error)) onProblem(error)
    })
  })
  const bound = await listen(server, address)
  server.on('error', onProblem)
  return {
    uri:
      bound.kind === 'unix'
        ? `http+unix://${uriPath(bound.path)}`
        : `http://${authorityOf(bound.host, bound.port)}/`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeIdleConnections()
      const isOverdue = setTimeout(() => server.closeAllConnections(), serveLimits.stopMs)
      await closed
      clearTimeout(isOverdue)
    }
  }
}

/** The client went away in the middle of its answer, which is its right. */
function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE'
}

async function answer(
  reader: SharedReader,
  isLoopback: boolean,
  request: IncomingMessage,
  response: ServerResponse
): Promise<void> {
  const { snapshot } = reader
  const refuse = (status: number, text: string, headers: Record<string, string> = {}): void => {
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...headers })
    response.end(request.method === 'HEAD' ? undefined : `${text}\n`)
  }
  if (isLoopback && !isLocalName(request.headers.host)) {
    refuse(421, 'this server answers for this machine only, by its loopback name')
    return
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    refuse(405, 'a snapshot is read-only', { allow: 'GET, HEAD' })
    return
  }
  const path = (request.url ?? '').split('?', 1)[0]
  if (path === '/') {
    const page = indexPage(snapshot)
    response.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'content-length': Buffer.byteLength(page)
    })
    response.end(request.method === 'HEAD' ? undefined : page)
    return
  }
  const stream = snapshot.streams.find(({ name }) => `/${encodeURIComponent(name)}` === path)
  if (stream === undefined) refuse(404, `there is no ${path ?? ''}; / lists what there is`)
  else await answerStream(reader, stream, request, response)
}

/**
 * A page in a browser may not reach this machine's servers by giving its own name this machine's address,
 * so only loopback names and addresses are let in.
 */
function isLocalName(host: string | undefined): boolean {
  return host === undefined || /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])?(:\d+)?$/i.test(host)
}

async function answerStream(
  reader: SharedReader,
  { name, size }: { readonly name: string; readonly size: number },
  { method, headers }: IncomingMessage,
  response: ServerResponse
): Promise<void> {
  const etag = `"${Buffer.from(reader.snapshot.digest).toString('hex')}"`
  response.setHeader('accept-ranges', 'bytes')
  response.setHeader('etag', etag)
  if (headers['if-none-match']?.split(/\s*,\s*/).some((one) => one === '*' || one === etag) === true) {
    response.writeHead(304).end()
    return
  }
  const ifRange = headers['if-range']
  const isSame = ifRange === undefined || ifRange === etag
  const range = chooseRange(method === 'GET' && isSame ? headers.range : undefined, size)
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'content-range': `bytes */${size}` }).end()
    return
  }
  const { start, end } = range === 'all' ? { start: 0, end: size } : range
  response.writeHead(range === 'all' ? 200 : 206, {
    'content-type': 'application/octet-stream',
    'content-length': end - start,
    ...(range === 'all' ? {} : { 'content-range': `bytes ${start}-${end - 1}/${size}` })
  })
  if (method === 'HEAD') response.end()
  else await pipeline(Readable.from(pieces(reader, name, start, end), { highWaterMark: 1 }), response)
}

/** The bytes in pieces, one read ahead of the one that is being sent. */
async function* pieces(
  reader: SharedReader,
  name: string,
  start: number,
  end: number
): AsyncGenerator<Uint8Array, void> {
  const readAt = (offset: number): Promise<Uint8Array> | undefined => {
    if (offset >= end) return undefined
    const piece = reader.read(name, offset, Math.min(serveLimits.httpPieceSize, end - offset))
    piece.catch(() => undefined) // met when its turn comes
    return piece
  }
  let next = readAt(start)
  for (let offset = start; next !== undefined; offset += serveLimits.httpPieceSize) {
    const piece = await next
    next = readAt(offset + serveLimits.httpPieceSize)
    yield piece
  }
}
