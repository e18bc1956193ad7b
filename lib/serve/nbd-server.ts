import { createServer } from 'node:net'
import { serveLimits } from '../limits.js'
import type { Export } from '../nbd/negotiation.js'
import type { Snapshot } from '../reader/open-snapshot.js'
import { authorityOf, listen, uriPath, type Address } from './address.js'
import { connectNbd, type NbdConnection } from './nbd-connection.js'
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
  const [first, ...others] = snapshot.streams.map(({ name, size }): Export => ({
    name,
    size,
    description: `stream ${name} of ${snapshot.name}`
  }))
  if (first === undefined) throw new RangeError('a snapshot without streams')
  const connections = new Map<NbdConnection, () => void>()
  const context = {
    snapshot,
    buffers: createReplyBuffers(),
    exports: [first, ...others] as const,
    activity: createPolling(),
    connectionSizeMax: () =>
      Math.min(
        serveLimits.connectionSizeMax,
        Math.max(serveLimits.connectionSizeMin, serveLimits.unsentSize / connections.size)
      ),
    onProblem
  }
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
      const closed = new Promise((resolve) => server.close(resolve))
      for (const connection of connections.keys()) connection.stop()
      const isOverdue = setTimeout(() => {
        for (const destroy of connections.values()) destroy()
      }, serveLimits.stopMs)
      await closed
      clearTimeout(isOverdue)
    }
  }
}
