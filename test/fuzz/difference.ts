import type { Snapshot } from '../../lib/index.js'
import type { Library, StreamOutcome } from './library.js'
import { attempt, bytesAt, sizeOf, type Piece, type Report } from './verdict.js'

/** What `diff` says of the first stream against what reading both says. */
export async function checkDiff(
  diffStreams: Library['diffStreams'],
  one: Snapshot,
  /** Its first stream. */
  plain: Buffer,
  other: Snapshot,
  streams: readonly StreamOutcome[],
  report: Report
): Promise<void> {
  const name = one.header.streams[0] ?? ''
  const stream = streams.find((found) => found.name === name)
  const found = await attempt(report, 'diff', async () => {
    const ranges: { start: number; end: number }[] = []
    for await (const range of diffStreams(one, other, name)) {
      ranges.push(range)
      if (ranges.length > 5000) return undefined
    }
    return ranges
  })
  if (stream?.whole.isOk !== true || stream.whole.value === undefined) return
  if (!found.isOk) {
    report('diff fails where runs do not', found.message)
    return
  }
  if (found.value === undefined) return
  const wrong = diffProblem(plain, stream.whole.value, found.value)
  if (wrong !== undefined) report('diff says something else than the bytes', wrong)
}

function diffProblem(
  plain: Buffer,
  pieces: readonly Piece[],
  ranges: readonly { readonly start: number; readonly end: number }[]
): string | undefined {
  const end = Math.min(
    plain.length,
    pieces.reduce((sum, piece) => sum + sizeOf(piece), 0)
  )
  const bytes = bytesAt(pieces, 0, end)
  let at = 0
  for (const range of [...ranges, { start: end, end }]) {
    if (range.start < at || range.end > end) return `range ${range.start} to ${range.end} of ${end}`
    if (!bytes.subarray(at, range.start).equals(plain.subarray(at, range.start)))
      return `not told: ${at} to ${range.start}`
    for (let i = range.start; i < range.end; i++) if (bytes[i] === plain[i]) return `byte ${i} is the same`
    at = range.end
  }
  return undefined
}
