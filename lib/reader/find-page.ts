import type { IndexRoot } from '../format/index-root.js'

/** The page of `stream` that holds `offset`, by binary search. */
export function findPage({ pages }: IndexRoot, stream: number, offset: number): number {
  let low = 0
  let high = pages.length
  while (low < high) {
    const middle = (low + high) >> 1
    const page = pages[middle]
    const isAfter =
      page === undefined || page.stream > stream || (page.stream === stream && page.streamOffset > offset)
    if (isAfter) high = middle
    else low = middle + 1
  }
  return Math.max(0, low - 1)
}
