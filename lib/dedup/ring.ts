/** Rows are allocated this many at a time, so that growing copies nothing. */
const segmentRows = 16 * 1024

/** A table of at most `capacity` rows of a few 32-bit words, allocated as rows are first written. */
export interface Ring {
  /** @param at where the row's words start in `words` */
  set(row: number, words: ArrayLike<number>, at?: number): void
  word(row: number, index: number): number
  equals(row: number, words: ArrayLike<number>, at?: number): boolean
  readonly byteSize: number
}

export function createRing(capacity: number, width: number): Ring {
  const segments: Uint32Array[] = []
  const rowsPerSegment = Math.min(segmentRows, capacity)
  const segmentOf = (row: number): Uint32Array => {
    const index = Math.floor(row / rowsPerSegment)
    return (segments[index] ??= new Uint32Array(
      Math.min(rowsPerSegment, capacity - index * rowsPerSegment) * width
    ))
  }
  return {
    set(row, words, at = 0) {
      const segment = segmentOf(row)
      const start = (row % rowsPerSegment) * width
      for (let i = 0; i < width; i++) segment[start + i] = words[at + i] ?? 0
    },
    word: (row, index) => segmentOf(row)[(row % rowsPerSegment) * width + index] ?? 0,
    equals(row, words, at = 0) {
      const segment = segmentOf(row)
      const start = (row % rowsPerSegment) * width
      for (let i = 0; i < width; i++) if (segment[start + i] !== words[at + i]) return false
      return true
    },
    get byteSize() {
      return segments.reduce((sum, segment) => sum + segment.byteLength, 0)
    }
  }
}
