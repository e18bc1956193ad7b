import { UsageError } from '../errors.js'

/** Keeps what was closed from being used: its descriptor may be another file's by then. */
export interface Closing {
  /** @throws UsageError when it is closed */
  check(): void
  /** The same items, and a UsageError in place of the next one once it is closed. */
  guard<Item>(items: AsyncGenerator<Item, void>): AsyncGenerator<Item, void>
  /** Ends all guarded iterations, and waits for what they have in work. */
  close(): Promise<void>
}

/** @param name of what is closed, for messages */
export function createClosing(name: string): Closing {
  let isClosed = false
  const started = new Set<AsyncGenerator<unknown, void>>()
  const check = (): void => {
    if (isClosed) throw new UsageError(`${name} is closed`)
  }
  async function* guarded<Item>(items: AsyncGenerator<Item, void>): AsyncGenerator<Item, void> {
    check()
    started.add(items)
    try {
      for (;;) {
        const next = await items.next()
        check() // also where the end came because of that
        if (next.done === true) return
        yield next.value
        check()
      }
    } finally {
      started.delete(items)
      await items.return()
    }
  }
  return {
    check,
    guard: guarded,
    async close() {
      isClosed = true
      await Promise.allSettled(Array.from(started, (items) => items.return()))
    }
  }
}
