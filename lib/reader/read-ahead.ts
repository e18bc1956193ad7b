import { memoryLimits } from '../limits.js'

/** A range of a stream that will be wanted soon. */
export interface Ahead {
  readonly start: number
  readonly end: number
}

/** Where one sequential reader stands. */
interface Cursor {
  readonly stream: number
  end: number
  /** Asked for up to here. */
  aheadEnd: number
  /** Whether a read has followed another here. */
  isFollowed: boolean
  /** Bytes to be ahead; 0 until a third read has followed the second. */
  window: number
}

/**
 * Tells what to read ahead. Two reads that start where the one before ended are sequential: one does by chance, now and
 * then, among many at random. The window doubles from 256 KiB as it goes on. Holds a few cursors, so that several
 * readers don't disturb each other.
 *
 * @param windowMax bytes; 0 for none
 */
export function createReadAhead(
  windowMax: number
): (stream: number, start: number, end: number) => Ahead | undefined {
  /** The one used last is the last. */
  const cursors: Cursor[] = []
  const { readAheadMin, readCursorCount } = memoryLimits
  return (stream, start, end) => {
    if (windowMax === 0 || start === end) return undefined
    const at = cursors.findIndex((cursor) => cursor.end === start && cursor.stream === stream)
    if (at === -1) {
      cursors.push({ stream, end, aheadEnd: end, isFollowed: false, window: 0 })
      if (cursors.length > readCursorCount) cursors.shift()
      return undefined
    }
    const [cursor] = cursors.splice(at, 1) as [Cursor]
    cursors.push(cursor)
    cursor.end = end
    cursor.aheadEnd = Math.max(cursor.aheadEnd, end)
    if (!cursor.isFollowed) {
      cursor.isFollowed = true
      return undefined
    }
    // Half a window at a time: a request for each small read would be none the better.
    if (cursor.window > 0 && cursor.aheadEnd - end > cursor.window / 2) return undefined
    cursor.window = Math.min(windowMax, Math.max(readAheadMin, cursor.window * 2))
    const ahead = { start: cursor.aheadEnd, end: end + cursor.window }
    if (ahead.end <= ahead.start) return undefined
    cursor.aheadEnd = ahead.end
    return ahead
  }
}
