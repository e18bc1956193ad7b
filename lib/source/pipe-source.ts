import { Socket } from 'node:net'
import { memoryLimits } from '../limits.js'
import { readBuffer } from '../memory.js'
import { sourceError } from './source-error.js'
import type { ReadOptions, Source } from './source.js'

/**
 * A pipe or socket that is open already, such as standard input. `close` closes the descriptor.
 *
 * Reads into one buffer, handed out a piece at a time: a stream of Node's own would allocate 64 KiB for
 * each read, and that garbage is a tenth of what a build may keep in memory. Nothing is read while a
 * piece is out, and closing does not wait for the other side, as a blocked read would.
 */
export function pipeSource(fd: number, name: string): Source {
  const buffer = readBuffer(memoryLimits.readSize)
  let size = 0
  let failure: unknown
  let isEnded = false
  let wake = (): void => undefined
  const onread = {
    buffer,
    callback(length: number): boolean {
      size = length
      wake()
      return false
    }
  }
  let socket: Socket | undefined

  async function* read({ reuse }: ReadOptions): AsyncGenerator<Uint8Array, void> {
    socket = openSocket(fd, onread)
    socket.on('error', (error) => {
      failure = error
      wake()
    })
    socket.on('end', () => {
      isEnded = true
      wake()
    })
    for (;;) {
      const woken = new Promise<void>((resolve) => (wake = resolve))
      socket.resume()
      if (size === 0 && !isEnded && failure === undefined) await woken
      if (failure !== undefined) throw sourceError(failure, name)
      if (size === 0) return
      const piece = buffer.subarray(0, size)
      size = 0
      yield reuse ? piece : Buffer.from(piece)
    }
  }

  function close(): Promise<void> {
    socket ??= openSocket(fd, onread)
    socket.destroy()
    return Promise.resolve()
  }

  return { name, size: undefined, isPipe: true, read, close }
}

/** Node's types know `onread` of a connection only; a socket on a descriptor takes it as well. */
function openSocket(fd: number, onread: { buffer: Buffer; callback: (length: number) => boolean }): Socket {
  const options = { fd, readable: true, writable: false, onread }
  return new Socket(options)
}
