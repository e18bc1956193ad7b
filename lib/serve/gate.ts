import type { Activity } from './polling.js'

/** Lets work in while its count and its sum of bytes are within bounds; what comes later waits in line. */
export interface Gate {
  /**
   * Resolves when there is room; work that is larger than the bound gets in when it is alone.
   *
   * @returns false when the gate was closed meanwhile: then nothing was let in
   */
  enter(size: number): Promise<boolean>
  /** Work of that size is done. */
  leave(size: number): void
  /** Resolves when all that got in is done, or the gate is closed. */
  idle(): Promise<void>
  /** Turns everybody away who waits or comes. */
  close(): void
}

const ignored: Activity = { began: () => undefined, ended: () => undefined }

/**
 * @param sizeMax bytes; asked each time, since it may depend on who else is there
 * @param countMax pieces of work
 * @param activity told when the first one gets in, and when the last one is done or the gate is closed
 */
export function createGate(sizeMax: () => number, countMax: number, activity = ignored): Gate {
  const waiting: { readonly size: number; readonly resolve: (isIn: boolean) => void }[] = []
  let idlers: (() => void)[] = []
  let held = 0
  let count = 0
  let isClosed = false

  const hasRoom = (size: number): boolean => count === 0 || (count < countMax && held + size <= sizeMax())
  const admit = (size: number): void => {
    held += size
    if (count++ === 0) activity.began()
  }
  const wakeIdlers = (): void => {
    for (const wake of idlers) wake()
    idlers = []
  }

  return {
    enter(size) {
      if (isClosed) return Promise.resolve(false)
      if (waiting.length > 0 || !hasRoom(size))
        return new Promise((resolve) => waiting.push({ size, resolve }))
      admit(size)
      return Promise.resolve(true)
    },
    leave(size) {
      held -= size
      count--
      for (let next = waiting[0]; next !== undefined && hasRoom(next.size); next = waiting[0]) {
        waiting.shift()
        admit(next.size)
        next.resolve(true)
      }
      if (count > 0) return
      if (!isClosed) activity.ended()
      wakeIdlers()
    },
    idle: () =>
      count === 0 || isClosed ? Promise.resolve() : new Promise((resolve) => idlers.push(resolve)),
    close() {
      if (!isClosed && count > 0) activity.ended() // what is still in there has nobody who waits for it
      isClosed = true
      for (const { resolve } of waiting.splice(0)) resolve(false)
      wakeIdlers()
    }
  }
}
