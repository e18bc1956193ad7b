import type { Socket } from 'node:net'
import { serveLimits } from '../limits.js'

/** What a client sends, taken in exact portions. */
export interface Input {
  /** The next `size` bytes; `undefined` when the client sends no more, or `end` was called. */
  take(size: number): Promise<Uint8Array | undefined>
  /** Passes over bytes without keeping them; false when the client sends no more. */
  skip(size: number): Promise<boolean>
  /** Makes every `take` and `skip` give up, those that wait and those to come. */
  end(): void
}

/** Holds at most `serveLimits.inputSize` bytes and what one event brings; beyond that the client waits. */
export function createInput(socket: Socket): Input {
  let parts: Uint8Array[] = []
  let held = 0
  let isEnded = false
  let wake: (() => void) | undefined

  const end = (): void => {
    isEnded = true
    socket.pause()
    wake?.()
  }
  socket.on('data', (part: Buffer) => {
    if (isEnded) return
    parts.push(part)
    held += part.length
    wake?.()
    if (held > serveLimits.inputSize) socket.pause()
  })
  socket.on('end', () => wake?.()).on('close', end)

  /** Its `close` event may come much later than its end, when there is a lot to do. */
  const isOver = (): boolean => isEnded || socket.destroyed

  /** Waits until something came; false when nothing will. */
  const more = async (): Promise<boolean> => {
    if (isOver() || socket.readableEnded) return false
    const { promise, resolve } = withResolver()
    wake = resolve
    socket.resume()
    await promise
    wake = undefined
    return true
  }

  return {
    async take(size) {
      while (held < size) if (!(await more())) return undefined
      if (isOver()) return undefined
      const [first] = parts
      const whole = first !== undefined && first.length >= size ? first : Buffer.concat(parts)
      const rest = whole.subarray(size)
      if (whole !== first) parts = []
      else parts.shift()
      if (rest.length > 0) parts.unshift(rest)
      held -= size
      return whole.subarray(0, size)
    },
    async skip(size) {
      for (let left = size; left > 0;) {
        if (isOver()) return false
        const part = parts.shift()
        if (part === undefined) {
          if (!(await more())) return false
          continue
        }
        const rest = part.subarray(left)
        if (rest.length > 0) parts.unshift(rest)
        held -= part.length - rest.length
        left -= part.length - rest.length
      }
      return true
    },
    end
  }
}

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}
