import { availableParallelism } from 'node:os'
import { serveLimits } from '../limits.js'

/** Is told what goes on in a server. */
export interface Activity {
  /** A connection has something to do now. */
  readonly began: () => void
  /** It has nothing to do any more: all is answered. */
  readonly ended: () => void
}

/** Replies that nobody polls after, when polling was in vain once more; twice as many each time, up to the most. */
const restMax = 64

/**
 * Keeps the event loop awake for a moment after the last reply: to wake a thread that sleeps for the next request takes
 * as long as to answer it. QEMU's event loop does the same (`poll-max-ns`). A client that asks later, or that is kept
 * from its processor by this, is soon left alone; so is every client where there is one processor.
 *
 * @param pollMs how long
 */
export function createPolling(pollMs = availableParallelism() > 1 ? serveLimits.pollMs : 0): Activity {
  let busyCount = 0
  let rest = 0
  let restNext = 1
  let pollEnd = 0
  let isPolling = false

  const poll = (): void => {
    isPolling = busyCount === 0 && performance.now() < pollEnd
    if (isPolling) setImmediate(poll)
    else if (busyCount === 0) {
      rest = restNext
      restNext = Math.min(restMax, 2 * restNext)
    }
  }
  return {
    began() {
      busyCount += 1
      if (isPolling) restNext = 1
    },
    ended() {
      busyCount -= 1
      if (busyCount > 0 || pollMs === 0) return
      if (rest > 0) {
        rest -= 1
        return
      }
      pollEnd = performance.now() + pollMs
      if (isPolling) return
      isPolling = true
      setImmediate(poll)
    }
  }
}
