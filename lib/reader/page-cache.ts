/**
 * Keeps the pages used last. Concurrent askers for the same page share one load; a failed load is not kept.
 *
 * @param countMax pages kept
 */
export function createPageCache<Page>(
  load: (number: number) => Promise<Page>,
  countMax: number
): (number: number) => Promise<Page> {
  /** Oldest use first: a Map keeps the order of insertion. */
  const kept = new Map<number, Promise<Page>>()
  return (number) => {
    const page = kept.get(number) ?? load(number)
    kept.delete(number)
    kept.set(number, page)
    page.catch(() => kept.delete(number))
    for (const oldest of kept.keys()) {
      if (kept.size <= countMax) break
      kept.delete(oldest)
    }
    return page
  }
}
