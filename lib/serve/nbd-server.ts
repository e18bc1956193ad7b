import { createServer, type Socket } from 'node:net'
import { serveLimits } from '../limits.js'
import type { Export } from '../nbd/negotiation.js'
import type { Snapshot } from '../reader/open-snapshot.js'
import { authorityOf, listen, uriPath, type Address } from './address.js'
import { connectNbd, type NbdConnection, type NbdContext } from './nbd-connection.js'
import { createPolling } from './polling.js'
import { createReplyBuffers } from './reply-buffers.js'

/** A server that listens. */
export interface Listener {
  /** As a URI. */
  readonly uri: string
  /** Takes no more connections, gives requests in work a moment, and ends all. */
  close(): Promise<void>
}

/**
 * Serves each stream of a snapshot as a read-only NBD export of its name.
 *
 * @throws TargetError when the address can't be had
 */
export async function serveNbd(
  snapshot: Snapshot,
  address: Address,
  onProblem: (error: unknown) => void
): Promise<Listener> {
  const connections = new Map<NbdConnection, () => void>()
  const context = contextOf(snapshot, onProblem, () => connections.size)
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    const connection = connectNbd(socket, context)
    connections.set(connection, () => socket.destroy())
    void connection.done.then(() => connections.delete(connection))
  })
  server.maxConnections = serveLimits.connectionCountMax
  const bound = await listen(server, address)
  server.on('error', onProblem) // accepting failed: too many open files, say

  return {
    uri:
      bound.kind === 'unix'
        ? `nbd+unix:///?socket=${uriPath(bound.path)}`
        : `nbd://${authorityOf(bound.host, bound.port)}`,
    async close() {
      await endAll(connections, new Promise((resolve) => server.close(resolve)))
    }
  }
}

/**
 * Serves one client, over a socket that is connected.
 *
 * @param name of the stream that a client gets which names none
 */
export function serveNbdSocket(
  snapshot: Snapshot,
  socket: Socket,
  name: string,
  onProblem: (error: unknown) => void
): Pick<Listener, 'close'> {
  const connection = connectNbd(
    socket,
    contextOf(snapshot, onProblem, () => 1, name)
  )
  return { close: () => endAll(new Map([[connection, () => socket.destroy()]]), connection.done) }
}

/** Gives requests in work a moment. @param closed resolves when all are over */
async function endAll(connections: Map<NbdConnection, () => void>, closed: Promise<unknown>): Promise<void> {
  for (const connection of connections.keys()) connection.stop()
  const isOverdue = setTimeout(() => {
    for (const destroy of connections.values()) destroy()
  }, serveLimits.stopMs)
  await closed
  clearTimeout(isOverdue)
}

/** @param firstName of the stream that is the first export; else the snapshot's first */
function contextOf(
  snapshot: Snapshot,
  onProblem: (error: unknown) => void,
  connectionCount: () => number,
  firstName?: string
): NbdContext {
  const [first, ...others] = snapshot.streams
    .toSorted((a, b) => Number(b.name === firstName) - Number(a.name === firstName))
    .map(({ name, size }): Export => ({ name, size, description: `stream ${name} of ${snapshot.name}` }))
  if (first === undefined) throw new RangeError('a snapshot without streams')
  return {
    snapshot,
    buffers: createReplyBuffers(),
    exports: [first, ...others],
    activity: createPolling(),
    connectionSizeMax: () =>
      Math.min(
        serveLimits.connectionSizeMax,
        Math.max(serveLimits.connectionSizeMin, serveLimits.unsentSize / connectionCount())
      ),
    onProblem
  }
}
