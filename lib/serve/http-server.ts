import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { serveLimits } from '../limits.js'
import { printable } from '../printable.js'
import type { Snapshot } from '../reader/open-snapshot.js'
import { authorityOf, isLocal, listen, type Address } from './address.js'
import { checkConditions, isRangeCurrent } from './http-conditions.js'
import { chooseRange } from './http-range.js'
import { createTurns, type Client } from './http-turns.js'
import { indexPage } from './index-page.js'
import type { Listener } from './nbd-server.js'

/**
 * Serves each stream of a snapshot as a file of its name, with ranges, and a page that lists them.
 *
 * @param takeMs time for a client to take a piece of an answer
 * @throws TargetError when the address can't be had; UsageError for what is no address
 */
export async function serveHttp(
  snapshot: Snapshot,
  address: Address,
  onProblem: (error: unknown) => void,
  takeMs: number = serveLimits.httpTakeMs
): Promise<Listener> {
  const server = createServer({
    headersTimeout: serveLimits.handshakeMs,
    requestTimeout: serveLimits.lingerMs,
    connectionsCheckingInterval: 1000
  })
  server.maxConnections = serveLimits.connectionCountMax
  const isLoopback = address.kind === 'tcp' && isLocal(address)
  const inTurn = createTurns(takeMs, onProblem)
  server.on('request', (request, response) => {
    request.resume() // a body is of no use, but must go by
    inTurn(request, response, (client) => answer(snapshot, isLoopback, { request, response, client }))
  })
  const bound = await listen(server, address)
  server.on('error', onProblem)
  return {
    uri:
      bound.kind === 'unix'
        ? `http+unix://${encodeURIComponent(bound.path)}/`
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

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly client: Client
}

async function answer(snapshot: Snapshot, isLoopback: boolean, exchange: Exchange): Promise<void> {
  const { request, response } = exchange
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
  const path = (request.url ?? '').split('?', 1)[0] ?? ''
  if (path === '/') {
    const page = indexPage(snapshot)
    response.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'content-length': Buffer.byteLength(page)
    })
    response.end(request.method === 'HEAD' ? undefined : page)
    return
  }
  const stream = snapshot.streams.find(({ name }) => `/${name}` === decoded(path))
  if (stream === undefined) refuse(404, `there is no ${printable(path.slice(0, 256))}; / lists what there is`)
  else await answerStream(snapshot, stream, exchange)
}

/** A path as the names of streams are; one that is not percent-encoded right is nobody's name. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return ''
  }
}

/**
 * A page in a browser may not reach this machine's servers by giving its own name this machine's address,
 * so only loopback names and addresses are let in. No page reaches a unix socket.
 */
function isLocalName(host: string | undefined): boolean {
  return host === undefined || /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])?(:\d+)?$/i.test(host)
}

async function answerStream(
  snapshot: Snapshot,
  { name, size }: { readonly name: string; readonly size: number },
  { request: { method, headers }, response, client }: Exchange
): Promise<void> {
  const etag = `"${Buffer.from(snapshot.digest).toString('hex')}"`
  response.setHeader('accept-ranges', 'bytes')
  response.setHeader('etag', etag)
  const condition = checkConditions(headers, etag)
  if (condition !== 'met') {
    response.writeHead(condition === 'failed' ? 412 : 304).end()
    return
  }
  const isCurrent = isRangeCurrent(headers['if-range']?.toString(), etag)
  const range = chooseRange(method === 'GET' && isCurrent ? headers.range : undefined, size)
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
  if (method === 'GET') await send(snapshot, name, { start, end }, { response, client })
  response.end()
}

/** The bytes in pieces: one is read while the one before is being sent. Ends early when the client does. */
async function send(
  snapshot: Snapshot,
  name: string,
  { start, end }: { readonly start: number; readonly end: number },
  { response, client }: Pick<Exchange, 'response' | 'client'>
): Promise<void> {
  const bufferSize = Math.min(serveLimits.httpPieceSize, end - start)
  let [free, unsent] = [Buffer.allocUnsafeSlow(bufferSize), Buffer.alloc(0)]
  let sent = Promise.resolve()
  for (let offset = start; offset < end && !response.closed; offset += serveLimits.httpPieceSize) {
    const size = Math.min(serveLimits.httpPieceSize, end - offset)
    if (free.length === 0) free = Buffer.allocUnsafeSlow(bufferSize)
    const bytes = await snapshot.read(name, offset, size, free)
    await client.taken(sent)
    await nextTurn() // a client that reads as fast as we write would hold up the others
    sent = new Promise((resolve) => response.write(bytes, () => resolve()))
    ;[free, unsent] = [unsent, free]
  }
  await client.taken(sent)
}
