/**
 * The result of some work, or as soon as the signal says so its reason: for work that may wait for a far side that
 * has nothing to say. What was started goes on until the caller closes what it works with.
 */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  work.catch(() => undefined) // nobody asks any more, once it was given up
  signal.throwIfAborted()
  let give = (): void => undefined
  const aborted = new Promise<never>((_, reject) => {
    give = () => reject(signal.reason as Error)
    signal.addEventListener('abort', give)
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', give)
  }
}
