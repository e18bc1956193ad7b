/**
 * Finds where the chunk that starts at `start` ends.
 *
 * @param end bytes are valid up to here
 * @param isLast the stream ends at `end`
 * @returns the offset behind the chunk, or −1 when more bytes are needed to tell
 */
export type BoundaryFinder = (bytes: Uint8Array, start: number, end: number, isLast: boolean) => number

/** Chunks of `size` bytes; the last one of a stream may be shorter. */
export function createFixed(size: number): BoundaryFinder {
  return (_bytes, start, end, isLast) => {
    if (end - start >= size) return start + size
    return isLast && end > start ? end : -1
  }
}
