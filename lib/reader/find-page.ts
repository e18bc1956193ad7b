import type { IndexRoot } from '../format/index-root.js'

/** The page of `stream` that holds `offset`, by binary search. */
export function findPage({ pages }: IndexRoot, stream: number, offset: number): number {
  let low = 0
  let high = pages.length
  while (low < high) {
    const middle = (low + high) >> 1
    const found = pages.streamAt(middle)
    const isAfter = found > stream || (found === stream && pages.streamOffsetAt(middle) > offset)
    if (isAfter) high = middle
    else low = middle + 1
  }
  return Math.max(0, low - 1)
}

/** The first page that lies after an offset of the file, by binary search: it describes the frame that starts there. */
export function pageAfter({ pages }: IndexRoot, offset: number): number {
  let low = 0
  let high = pages.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((pages.at(middle)?.handle.offset ?? 0) > offset) high = middle
    else low = middle + 1
  }
  return low
}
