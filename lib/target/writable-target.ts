import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { Target } from './target.js'
import { targetError } from './write-all.js'

/** Any Writable as a target: it gets copies it may keep, is ended by `commit` and destroyed by `discard`. */
export function writableTarget(stream: Writable, name = 'the target stream'): Target {
  let failure: unknown
  stream.on('error', (error) => {
    failure = error
  })
  let isDone = false
  const throwFailure = (): void => {
    if (failure !== undefined) throw targetError(failure, name)
    // A stream that broke before it came here has told its error to somebody else.
    if (stream.destroyed || !stream.writable)
      throw targetError(stream.errored ?? Object.assign(new Error(), { code: 'EPIPE' }), name)
  }
  return {
    name,
    isBlocking: true,
    async write(pieces) {
      throwFailure()
      const hasRoom = stream.write(Buffer.concat(pieces))
      if (!hasRoom) await drained(stream)
      throwFailure()
    },
    async commit() {
      throwFailure()
      const ended = finished(stream, { readable: false })
      stream.end()
      await ended.catch((error: unknown) => {
        throw targetError(error, name)
      })
      isDone = true
    },
    discard() {
      if (!isDone) stream.destroy()
      isDone = true
      return Promise.resolve()
    }
  }
}

/**
 * A pipe or socket that Node has open, such as standard output. What is written is in the kernel's hands when `write`
 * is done, so it is not copied; the stream stays open.
 */
export function socketTarget(stream: Writable, name: string): Target {
  stream.on('error', () => undefined) // told to the write that met it
  return {
    name,
    isBlocking: true,
    async write(pieces) {
      const left = pieces.filter((piece) => piece.length > 0)
      const last = left.pop()
      if (last === undefined) return
      stream.cork() // one system call for all of them
      for (const piece of left) stream.write(piece)
      const written = new Promise<void>((resolve, reject) => {
        stream.write(last, (error) => {
          if (error == null) resolve()
          else reject(targetError(error, name))
        })
      })
      stream.uncork()
      await written
    },
    commit: () => Promise.resolve(),
    discard: () => Promise.resolve()
  }
}

/** Resolves when the stream has room, or never will have. Leaves no listeners behind: there may be one wait a MiB. */
function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const events = ['drain', 'close', 'error'] as const
    const done = (): void => {
      for (const event of events) stream.off(event, done)
      resolve()
    }
    for (const event of events) stream.on(event, done)
  })
}
