/** Rows are allocated this many at a time, so that growing copies nothing. */
const segmentRows = 16 * 1024

/** A table of at most `capacity` rows of a few 32-bit words, allocated as rows are first written. */
export interface Ring {
  set(row: number, words: ArrayLike<number>): void
  word(row: number, index: number): number
  equals(row: number, words: ArrayLike<number>): boolean
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
    set(row, words) {
      segmentOf(row).set(words, (row % rowsPerSegment) * width)
    },
    word: (row, index) => segmentOf(row)[(row % rowsPerSegment) * width + index] ?? 0,
    equals(row, words) {
      const segment = segmentOf(row)
      const start = (row % rowsPerSegment) * width
      for (let i = 0; i < width; i++) if (segment[start + i] !== words[i]) return false
      return true
    },
    get byteSize() {
      return segments.reduce((sum, segment) => sum + segment.byteLength, 0)
    }
  }
}
