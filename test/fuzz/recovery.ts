import { blake3 } from '../../lib/format/digest.js'
import { type ByteSource, type RecoverOptions, type RecoverResult, type Snapshot } from '../../lib/index.js'
import type { Library } from './library.js'
import { attempt, sizeOf, type Outcome, type Piece, type Report } from './verdict.js'

const keptMax = 48 * 2 ** 20

/** What `recover` gave. */
export interface Recovered {
  readonly result: RecoverResult
  /** Bytes of a range as the target has them; `undefined` when so much was written that not all was kept. */
  readonly bytesAt: (start: number, end: number) => Buffer | undefined
  /** Of what was written there, the first byte that is not zero. */
  readonly dataIn: (start: number, end: number) => number | undefined
}

/** Into a target that keeps what it gets, wherever that is. */
export async function recover(
  recoverStream: Library['recoverStream'],
  source: ByteSource,
  options: RecoverOptions,
  report: Report
): Promise<Outcome<Recovered>> {
  const writes: { offset: number; bytes: Uint8Array }[] = []
  let size = 0
  const target = {
    writeAt(offset: number, bytes: Uint8Array): Promise<void> {
      if (!Number.isSafeInteger(offset) || offset < 0) report('recover writes nowhere', `${offset}`)
      size += bytes.length
      if (size <= keptMax) writes.push({ offset, bytes: Buffer.from(bytes) })
      return Promise.resolve()
    }
  }
  const bytesAt = (start: number, end: number): Buffer | undefined => {
    if (size > keptMax) return undefined
    const found = Buffer.alloc(end - start)
    for (const { offset, bytes } of writes) {
      const from = Math.max(start, offset)
      const to = Math.min(end, offset + bytes.length)
      if (from < to) found.set(bytes.subarray(from - offset, to - offset), from - start)
    }
    return found
  }
  const dataIn = (start: number, end: number): number | undefined => {
    for (const { offset, bytes } of writes) {
      const from = Math.max(start, offset)
      const to = Math.min(end, offset + bytes.length)
      const at = from < to ? (bytesAt(from, to)?.findIndex((byte) => byte !== 0) ?? -1) : -1
      if (at !== -1) return from + at
    }
    return undefined
  }
  return attempt(report, 'recover', async () => {
    const result = await recoverStream(source, target, { concurrency: 0, ...options })
    checkRanges(result, report)
    return { result, bytesAt, dataIn }
  })
}

function checkRanges(
  { recovered, lost, damage, prefixSize, streamSize }: RecoverResult,
  report: Report
): void {
  for (const ranges of [recovered, lost, damage]) {
    let end = -1
    for (const range of ranges) {
      const isRange = Number.isSafeInteger(range.end) && range.start > end && range.end > range.start
      if (!isRange)
        report('recover gives ranges that are none', `${range.start} to ${range.end} behind ${end}`)
      end = range.end
    }
  }
  const last = recovered.at(-1)?.end ?? 0
  if (streamSize !== undefined && last > streamSize)
    report('recover gives more than the stream has', `${last} of ${streamSize}`)
  if (prefixSize > 0 && recovered[0]?.end !== prefixSize) report('recover has two prefixes', `${prefixSize}`)
}

/** Whether what came back is, as far as it came back, this stream. */
export function checkRecovered(
  { result, bytesAt, dataIn }: Recovered,
  pieces: readonly Piece[],
  kind: string,
  report: Report
): void {
  let size = 0
  for (const piece of pieces) {
    size = piece.offset + sizeOf(piece)
    for (const range of result.recovered) {
      const start = Math.max(piece.offset, range.start)
      const end = Math.min(size, range.end)
      if (start >= end) continue
      if ('bytes' in piece) {
        const found = bytesAt(start, end)
        const right = piece.bytes.subarray(start - piece.offset, end - piece.offset)
        if (found !== undefined && !found.equals(right)) {
          report(kind, `bytes ${start} to ${end}`)
          return
        }
      } else {
        const at = dataIn(start, end)
        if (at !== undefined) {
          report(kind, `data in a hole, at ${at}`)
          return
        }
      }
    }
  }
  const last = result.recovered.at(-1)?.end ?? 0
  if (last > size) report(kind, `bytes behind the end, ${size} to ${last}`)
}

/** What intact pages of an intact root say of what came back whole. */
export async function checkAgainstPages(
  snapshot: Snapshot,
  stream: number,
  { result, bytesAt, dataIn }: Recovered,
  report: Report
): Promise<void> {
  for (let number = 0; number < snapshot.root.pages.length; number++) {
    const page = await attempt(report, 'page', () => snapshot.page(number))
    if (!page.isOk || page.value.stream !== stream) continue
    let end = page.value.streamOffset
    for (const entry of page.value.entries) {
      const start = end
      end += entry.rawSize
      if (!result.recovered.some((range) => range.start <= start && range.end >= end)) continue
      if (entry.kind === 'hole') {
        const at = dataIn(start, end)
        if (at !== undefined) {
          report('recover contradicts a page', `data in a hole, at ${at}`)
          return
        }
      } else {
        const found = bytesAt(start, end)
        if (found !== undefined && !blake3(found).equals(entry.digest)) {
          report('recover contradicts a page', `chunk ${start} to ${end}`)
          return
        }
      }
    }
  }
}
