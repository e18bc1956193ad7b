import { setTimeout as delay } from 'node:timers/promises'
import { SourceError, UsageError } from '../errors.js'
import { memoryLimits } from '../limits.js'
import { PassingError, unreadable, waitMaxMs, type FileState } from './http-answer.js'
import { fetchRange, reasonOf, type HttpFile } from './http-fetch.js'

/** How an HTTP source meets trouble; all optional. */
export interface HttpOptions {
  /** Tries in a row that bring less than 16 KiB, before a range is given up. Default 5. */
  readonly tryCount?: number
  /** Wait before the second try; it doubles from try to try. Default 250 ms. */
  readonly retryDelayMs?: number
  /**
   * A server that sends less than 512 bytes a second over so long, or nothing, is as good as gone. Default 30 s.
   */
  readonly timeoutMs?: number
  /** Sent with each request to the host of the URL, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Bytes a second that a server must send, over each `timeoutMs`. */
const leastRate = 512
/** The most that a timer takes. */
const timerMaxMs = 2 ** 31 - 1

/** What fetches ranges of one file. */
export interface RangeFetcher {
  /** What the server said of the file, after the first answer. */
  readonly state: FileState | undefined
  readonly fetched: { readonly size: number; readonly requestCount: number }
  /**
   * Fills `into` with the bytes from `start`; fewer where the file ends. Gives how many.
   *
   * @throws SourceError; UsageError when `signal` was aborted
   */
  fetchInto(into: Uint8Array, start: number): Promise<number>
}

/**
 * Meets trouble by trying again from where it happened. A range takes a bounded number of requests: one that brings less
 * than `httpProgressSize` counts as a try, whatever it brings.
 *
 * @throws UsageError for options that are out of range
 */
export function createRangeFetcher(file: HttpFile, options: HttpOptions): RangeFetcher {
  const { tryCount = 5, retryDelayMs = 250, timeoutMs = 30_000 } = options
  if (!Number.isSafeInteger(tryCount) || tryCount < 1)
    throw new UsageError(`tryCount ${tryCount} is not 1 or more`)
  for (const [what, ms] of Object.entries({ retryDelayMs, timeoutMs }))
    if (!(ms >= 0 && ms <= timerMaxMs))
      throw new UsageError(`${what} ${ms} is not a time from 0 to ${timerMaxMs} ms`)
  const fetched = { size: 0, requestCount: 0 }
  let state: FileState | undefined

  return {
    get state() {
      return state
    },
    fetched,
    async fetchInto(into, start) {
      let filled = 0
      const size = (): number => Math.min(into.length, (state?.size ?? Infinity) - start)
      for (let tries = 1; ; tries++) {
        const watch = watchRate(file.signal, timeoutMs)
        const filledBefore = filled
        try {
          fetched.requestCount += 1
          const answer = await fetchRange(
            { ...file, signal: watch.signal },
            start + filled,
            start + into.length,
            state
          )
          state ??= answer.state
          for await (const piece of answer.body) {
            watch.moved(piece.length)
            fetched.size += piece.length
            if (filled + piece.length > size())
              throw unreadable(file.name, 'its server gives more than was asked for')
            into.set(piece, filled)
            filled += piece.length
          }
          if (filled < size()) throw new PassingError(`the answer ended after ${filled} of ${size()} bytes`)
          return filled
        } catch (error) {
          if (file.signal.aborted) throw closedError(file.name)
          if (error instanceof SourceError) throw error
          if (state !== undefined && filled === size()) return filled // only the end of the answer did not come
          const passing = watch.signal.aborted
            ? new PassingError(watch.reason())
            : error instanceof PassingError
              ? error
              : new PassingError(reasonOf(error), 0, { cause: error })
          if (filled - filledBefore >= memoryLimits.httpProgressSize) tries = 0
          if (tries >= tryCount)
            throw unreadable(file.name, `${passing.message} (tried ${tryCount} times)`, error)
          await backOff(passing, retryDelayMs, Math.max(1, tries), file)
        } finally {
          watch.end()
        }
      }
    }
  }
}

export function closedError(name: string): UsageError {
  return new UsageError(`${name} is closed`)
}

/** Waits before another try, twice as long each time. */
async function backOff(
  error: PassingError,
  delayMs: number,
  tries: number,
  { name, signal }: HttpFile
): Promise<void> {
  const waitMs = Math.min(waitMaxMs, Math.max(error.waitMs, delayMs * 2 ** (tries - 1)))
  await delay(waitMs, undefined, { signal }).catch(() => {
    throw closedError(name)
  })
}

interface Watch {
  readonly signal: AbortSignal
  moved(size: number): void
  /** Why it was aborted. */
  reason(): string
  end(): void
}

/** Aborts when less than the least has come since it last had come, and when `outer` does. */
function watchRate(outer: AbortSignal, timeoutMs: number): Watch {
  const least = Math.max(1, Math.ceil((leastRate * timeoutMs) / 1000))
  const inner = new AbortController()
  const stop = (): void => inner.abort()
  const timer = setTimeout(stop, timeoutMs)
  let size = 0
  outer.addEventListener('abort', stop)
  if (outer.aborted) stop()
  return {
    signal: inner.signal,
    moved(more) {
      size += more
      if (size < least) return
      size = 0
      timer.refresh()
    },
    reason: () =>
      `the server sent ${size === 0 ? 'nothing' : `only ${size} bytes`} for ${timeoutMs / 1000} s`,
    end() {
      clearTimeout(timer)
      outer.removeEventListener('abort', stop)
    }
  }
}
