/** Bytes from `start` up to, not with, `end`. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** A set of bytes as sorted ranges that neither touch nor overlap. */
export interface RangeSet {
  add(start: number, end: number): void
  remove(start: number, end: number): void
  has(start: number, end: number): boolean
  /** Whether any byte of the range is in the set. */
  touches(start: number, end: number): boolean
  list(): readonly Range[]
}

export function createRangeSet(): RangeSet {
  let ranges: Range[] = []
  return {
    add(start, end) {
      const last = ranges.at(-1)
      if (last?.end === start) {
        ranges[ranges.length - 1] = { start: last.start, end }
        return
      }
      const touching = ranges.filter((range) => range.start <= end && range.end >= start)
      const merged = {
        start: Math.min(start, ...touching.map((range) => range.start)),
        end: Math.max(end, ...touching.map((range) => range.end))
      }
      ranges = [
        ...ranges.filter((range) => range.end < start),
        merged,
        ...ranges.filter((range) => range.start > end)
      ]
    },
    remove(start, end) {
      ranges = ranges.flatMap((range) =>
        [
          { start: range.start, end: Math.min(range.end, start) },
          { start: Math.max(range.start, end), end: range.end }
        ].filter((part) => part.start < part.end)
      )
    },
    has: (start, end) => ranges.some((range) => range.start <= start && end <= range.end),
    touches: (start, end) => ranges.some((range) => range.start < end && start < range.end),
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
