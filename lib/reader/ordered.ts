/**
 * Works on up to `window` items at once and gives the results in the order of the items. When the consumer
 * stops, or work fails, what is still in work is waited for, so that nothing goes on behind its back.
 */
export async function* inOrder<In, Out>(
  items: AsyncIterable<In>,
  work: (item: In) => Promise<Out>,
  window: number
): AsyncGenerator<Out, void> {
  const inWork: Promise<Out>[] = []
  try {
    for await (const item of items) {
      const result = work(item)
      result.catch(() => undefined) // met when its turn comes
      inWork.push(result)
      if (inWork.length >= window) yield (await inWork.shift()) as Out
    }
    for (let result = inWork.shift(); result !== undefined; result = inWork.shift()) yield await result
  } finally {
    await Promise.allSettled(inWork)
  }
}
