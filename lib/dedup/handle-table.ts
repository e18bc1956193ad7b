import type { Handle } from '../format/index-root.js'

const segmentRows = 16 * 1024

/** Where the block of each unique chunk lies, by ordinal; 10 bytes each, only the newest `capacity` kept. */
export interface HandleTable {
  /** Adds the handle of the next ordinal. */
  add(handle: Handle): void
  /** @throws RangeError when the ordinal was never added, or is forgotten: the stages disagree about capacity */
  get(ordinal: number): Handle
  readonly byteSize: number
}

interface Segment {
  readonly low: Uint32Array
  readonly high: Uint16Array
  readonly size: Uint32Array
}

export function createHandleTable(capacity: number): HandleTable {
  const segments: Segment[] = []
  const rows = Math.min(segmentRows, capacity)
  let addedCount = 0
  const segmentOf = (row: number): Segment => {
    const index = Math.floor(row / rows)
    const count = Math.min(rows, capacity - index * rows)
    return (segments[index] ??= {
      low: new Uint32Array(count),
      high: new Uint16Array(count),
      size: new Uint32Array(count)
    })
  }
  return {
    add({ offset, size }) {
      const row = addedCount % capacity
      const segment = segmentOf(row)
      segment.low[row % rows] = offset % 2 ** 32
      segment.high[row % rows] = Math.floor(offset / 2 ** 32)
      segment.size[row % rows] = size
      addedCount += 1
    },
    get(ordinal) {
      if (ordinal < 0 || ordinal >= addedCount || ordinal < addedCount - capacity) {
        throw new RangeError(`no handle is held for unique chunk ${ordinal}`)
      }
      const row = ordinal % capacity
      const segment = segmentOf(row)
      const at = row % rows
      return {
        offset: (segment.low[at] ?? 0) + (segment.high[at] ?? 0) * 2 ** 32,
        size: segment.size[at] ?? 0
      }
    },
    get byteSize() {
      return segments.reduce(
        (sum, { low, high, size }) => sum + low.byteLength + high.byteLength + size.byteLength,
        0
      )
    }
  }
}
