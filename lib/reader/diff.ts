import { memoryLimits } from '../limits.js'
import { checkDiff } from '../option-tables.js'
import type { IndexedPiece } from './entries.js'
import type { Snapshot } from './open-snapshot.js'
import type { Range } from './ranges.js'
import type { Run } from './runs.js'

export interface DiffOptions {
  /** Stop at what the index tells: whole chunks, some of whose bytes may be the same. Default false. */
  readonly chunksOnly?: boolean
  readonly signal?: AbortSignal
}

/**
 * The ranges in which a stream of two snapshots differs, as far as both reach: sorted, apart, and exact to
 * the byte. What the index says to be the same, equal digests at equal places and hole against hole, is not
 * read; only the rest is decoded and compared. With equal snapshot digests nothing is looked at.
 */
export async function* diffStreams(
  one: Snapshot,
  other: Snapshot,
  stream: string,
  options: DiffOptions = {}
): AsyncGenerator<Range, void> {
  checkDiff(one, other, stream, options)
  const { chunksOnly = false, signal } = options
  if (Buffer.compare(one.digest, other.digest) === 0) return
  // A stream that one of them has not is one of no bytes.
  const sizes = [one, other].map(({ streams }) => streams.find(({ name }) => name === stream)?.size ?? 0)
  const end = Math.min(...sizes)
  if (end === 0) return
  const suspects = joined(suspectRanges(one.pieces(stream, { end }), other.pieces(stream, { end }), end))
  if (chunksOnly) {
    yield* suspects
    return
  }
  yield* joined(exactRanges(one, other, stream, suspects, signal))
}

/** Ranges that touch, as one. */
async function* joined(ranges: AsyncIterable<Range>): AsyncGenerator<Range, void> {
  let open: Range | undefined
  for await (const range of ranges) {
    if (open?.end === range.start) {
      open = { start: open.start, end: range.end }
      continue
    }
    if (open !== undefined) yield open
    open = range
  }
  if (open !== undefined) yield open
}

/** What the index does not say to be the same, in pieces that end where an entry of either does. */
async function* suspectRanges(
  ones: AsyncGenerator<IndexedPiece, void>,
  others: AsyncGenerator<IndexedPiece, void>,
  end: number
): AsyncGenerator<Range, void> {
  try {
    let one = await next(ones)
    let other = await next(others)
    for (let at = 0; at < end && one !== undefined && other !== undefined;) {
      const oneEnd = one.offset + one.size
      const otherEnd = other.offset + other.size
      const to = Math.min(end, oneEnd, otherEnd)
      if (!isSame(one, other)) yield { start: at, end: to }
      at = to
      if (oneEnd <= at) one = await next(ones)
      if (otherEnd <= at) other = await next(others)
    }
  } finally {
    await Promise.all([ones.return(), others.return()])
  }
}

async function next(pieces: AsyncGenerator<IndexedPiece, void>): Promise<IndexedPiece | undefined> {
  const { value } = await pieces.next()
  return value ?? undefined
}

function isSame(one: IndexedPiece, other: IndexedPiece): boolean {
  if (one.kind === 'hole' || other.kind === 'hole') return one.kind === other.kind
  return (
    one.offset === other.offset && one.size === other.size && Buffer.compare(one.digest, other.digest) === 0
  )
}

/** Decodes both sides of the suspects and compares them. */
async function* exactRanges(
  one: Snapshot,
  other: Snapshot,
  stream: string,
  suspects: AsyncIterable<Range>,
  signal: AbortSignal | undefined
): AsyncGenerator<Range, void> {
  for await (const suspect of suspects) {
    const ones = createFeed(one.runs(stream, suspect))
    const others = createFeed(other.runs(stream, suspect))
    try {
      for (let at = suspect.start; at < suspect.end;) {
        signal?.throwIfAborted()
        const left = await ones.peek()
        const right = await others.peek()
        const size = Math.min(left.length, right.length)
        yield* differences(left.subarray(0, size), right.subarray(0, size), at)
        ones.take(size)
        others.take(size)
        at += size
      }
    } finally {
      await Promise.all([ones.close(), others.close()])
    }
  }
}

const zeros = Buffer.alloc(memoryLimits.runSize)
/** Compared at once before single bytes are. */
const stepSize = 256

/** Where two pieces of the same size differ, byte by byte. */
function* differences(left: Uint8Array, right: Uint8Array, offset: number): Generator<Range, void> {
  if (Buffer.compare(left, right) === 0) return
  let start: number | undefined
  for (let step = 0; step < left.length; step += stepSize) {
    const to = Math.min(left.length, step + stepSize)
    if (start === undefined && Buffer.compare(left.subarray(step, to), right.subarray(step, to)) === 0)
      continue
    for (let i = step; i < to; i++) {
      const isDifferent = left[i] !== right[i]
      if (isDifferent) start ??= i
      else if (start !== undefined) {
        yield { start: offset + start, end: offset + i }
        start = undefined
      }
    }
  }
  if (start !== undefined) yield { start: offset + start, end: offset + left.length }
}

/** Runs as bytes that are looked at and then taken, as many as one likes. Never empty before its end. */
interface Feed {
  peek(): Promise<Uint8Array>
  take(size: number): void
  close(): Promise<void>
}

function createFeed(runs: AsyncGenerator<Run, void>): Feed {
  let run: Run | undefined
  let used = 0
  const sizeOf = (one: Run): number => (one.kind === 'hole' ? one.size : one.bytes.length)
  return {
    async peek() {
      if (run === undefined) {
        const { value } = await runs.next()
        if (value === undefined) throw new Error('a stream ended before its size')
        run = value
        used = 0
      }
      return run.kind === 'hole' ? zeros.subarray(0, run.size - used) : run.bytes.subarray(used)
    },
    take(size) {
      used += size
      if (run === undefined || used < sizeOf(run)) return
      if (run.kind === 'data') run.release()
      run = undefined
    },
    close: async () => {
      await runs.return()
    }
  }
}
