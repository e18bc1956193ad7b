/** Bytes from `start` up to, not with, `end`. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** A set of bytes as sorted ranges that neither touch nor overlap. Ranges of no bytes change nothing. */
export interface RangeSet {
  add(start: number, end: number): void
  remove(start: number, end: number): void
  has(start: number, end: number): boolean
  /** Whether any byte of the range is in the set. */
  touches(start: number, end: number): boolean
  list(): readonly Range[]
}

/** Finds its place by binary search: a range that goes behind all others, as most do, costs nothing more. */
export function createRangeSet(): RangeSet {
  const ranges: Range[] = []
  /** Number of the first range that ends at or after an offset. */
  const firstTo = (offset: number): number => {
    if ((ranges.at(-1)?.end ?? -1) < offset) return ranges.length
    let low = 0
    let high = ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((ranges[middle]?.end ?? 0) < offset) low = middle + 1
      else high = middle
    }
    return low
  }
  /** Number of the first range, not before `from`, that starts after an offset. */
  const firstAfter = (offset: number, from: number): number => {
    let low = from
    let high = ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((ranges[middle]?.start ?? 0) <= offset) low = middle + 1
      else high = middle
    }
    return low
  }
  return {
    add(start, end) {
      if (start >= end) return
      const first = firstTo(start)
      const after = firstAfter(end, first)
      const merged = {
        start: Math.min(start, after > first ? (ranges[first]?.start ?? start) : start),
        end: Math.max(end, after > first ? (ranges[after - 1]?.end ?? end) : end)
      }
      if (first === ranges.length) ranges.push(merged)
      else ranges.splice(first, after - first, merged)
    },
    remove(start, end) {
      if (start >= end) return
      const first = firstTo(start + 1)
      const after = firstAfter(end - 1, first)
      if (after === first) return
      const parts = [
        { start: ranges[first]?.start ?? start, end: start },
        { start: end, end: ranges[after - 1]?.end ?? end }
      ]
      ranges.splice(first, after - first, ...parts.filter((part) => part.start < part.end))
    },
    has(start, end) {
      const range = ranges[firstTo(start + 1)]
      return range !== undefined && range.start <= start && end <= range.end
    },
    touches(start, end) {
      const range = ranges[firstTo(start + 1)]
      return range !== undefined && range.start < end && start < end
    },
    list: () => ranges
  }
}

/** What of `0` to `size` a set does not hold. */
export function missingFrom(set: RangeSet, size: number): Range[] {
  const missing: Range[] = []
  let start = 0
  for (const range of set.list()) {
    if (range.start >= size) break
    if (range.start > start) missing.push({ start, end: range.start })
    start = range.end
  }
  if (start < size) missing.push({ start, end: size })
  return missing
}
