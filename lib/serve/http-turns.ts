import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { serveLimits } from '../limits.js'

/** Answers the requests of each connection one after another. */
export type Turns = (
  request: IncomingMessage,
  response: ServerResponse,
  answer: (client: Client) => Promise<void>
) => void

/** Who gets an answer. */
export interface Client {
  /**
   * Waits until the client has taken what was sent, or is gone; one that takes nothing for `takeMs` is cut off.
   *
   * @param sent settles when the system has taken it
   */
  taken(sent: Promise<void>): Promise<void>
}

/**
 * Node reads all requests that a client sends without waiting for answers, and would have all of them in work. Here one
 * is, up to `httpWaitingMax` wait, and a client that sends more is cut off: what a connection holds has a bound.
 *
 * @param takeMs time for a client to take a piece of an answer
 * @param onProblem told of answers that failed; their connections are cut off, which tells the client
 */
export function createTurns(takeMs: number, onProblem: (error: unknown) => void): Turns {
  const lines = new WeakMap<Socket, { count: number; last: Promise<void> }>()
  return (request, response, answer) => {
    const { socket } = request
    const line = lines.get(socket) ?? { count: 0, last: Promise.resolve() }
    lines.set(socket, line)
    if (line.count > serveLimits.httpWaitingMax) {
      socket.destroy()
      return
    }
    line.count += 1
    const client = createClient(response, takeMs)
    const run = async (): Promise<void> => {
      if (socket.destroyed) return
      await answer(client)
      await client.taken(new Promise((resolve) => response.once('finish', resolve)))
    }
    line.last = line.last
      .then(run)
      .catch((error: unknown) => {
        if (socket.destroyed) return // nobody asks any more, and the snapshot may be closed
        socket.destroy() // half an answer: the client sees that it is cut off
        onProblem(error)
      })
      .finally(() => (line.count -= 1))
  }
}

function createClient(response: ServerResponse, takeMs: number): Client {
  const closed = new Promise<void>((resolve) => response.once('close', resolve))
  return {
    async taken(sent) {
      if (response.closed || response.writableFinished) return
      const isOverdue = setTimeout(() => response.destroy(), takeMs).unref()
      await Promise.race([sent, closed])
      clearTimeout(isOverdue)
    }
  }
}
