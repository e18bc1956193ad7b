import type { Socket } from 'node:net'

/** What goes to a client. */
export interface Output {
  /**
   * Sends pieces in one write with whatever else is sent in this turn.
   *
   * @param onSent called once the system has taken them, or never will
   */
  send(pieces: readonly Uint8Array[], onSent?: () => void): void
  /** Resolves when the client has read enough for more to be sent, or is gone. */
  drained(): Promise<void>
  /** Says that nothing more comes; resolves when all is sent, or the client is gone. */
  end(): Promise<void>
}

export function createOutput(socket: Socket): Output {
  let isCorked = false
  const uncork = (): void => {
    isCorked = false
    socket.uncork()
  }
  /** `event` or the end of the socket. */
  const until = (event: 'drain' | 'finish'): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        socket.off(event, done).off('close', done)
        resolve()
      }
      socket.on(event, done).on('close', done)
    })
  return {
    send(pieces, onSent) {
      const last = pieces.length - 1
      if (last < 0 || !socket.writable) {
        onSent?.()
        return
      }
      if (!isCorked) {
        isCorked = true
        socket.cork()
        process.nextTick(uncork)
      }
      for (const [i, piece] of pieces.entries()) {
        if (i === last && onSent !== undefined) socket.write(piece, onSent)
        else socket.write(piece)
      }
    },
    drained: () => (socket.destroyed || !socket.writableNeedDrain ? Promise.resolve() : until('drain')),
    end() {
      if (socket.destroyed || socket.writableFinished) return Promise.resolve()
      const finished = until('finish')
      socket.end()
      return finished
    }
  }
}
