import { isHexzError } from '../errors.js'
import type { DictionaryOutcome } from '../compression/dictionary.js'
import type { SnapshotTotals } from '../format/index-writer.js'
import type { StreamSummary } from '../format/index-root.js'
import type { Timings } from '../timings.js'
import { printable, shown } from './printable.js'
import { describeOutcome, dictionaryJson } from './dictionary.js'
import { formatSize } from './progress.js'

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
export const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

/** Raw over stored size, to two places; `–` when nothing is there to compare. */
export function formatRatio(rawSize: number, storedSize: number): string {
  return rawSize === 0 || storedSize === 0 ? '–' : (rawSize / storedSize).toFixed(2)
}

/** The sums over all streams. */
export function sumStreams(streams: readonly StreamSummary[]): Omit<StreamSummary, 'name'> {
  const sum = (key: Exclude<keyof StreamSummary, 'name'>): number =>
    streams.reduce((total, stream) => total + stream[key], 0)
  return {
    size: sum('size'),
    blockCount: sum('blockCount'),
    repeatCount: sum('repeatCount'),
    holeCount: sum('holeCount'),
    blockRawSize: sum('blockRawSize'),
    blockStoredSize: sum('blockStoredSize'),
    repeatSize: sum('repeatSize'),
    holeSize: sum('holeSize')
  }
}

/** What holes, repeats and compression each saved, a line each. */
export function savingLines(sums: Omit<StreamSummary, 'name'>): string[] {
  return [
    `  holes        ${formatSize(sums.holeSize)} in ${count(sums.holeCount, 'run')} of zeros`,
    `  repeats      ${formatSize(sums.repeatSize)} in ${count(sums.repeatCount, 'chunk')}`,
    `  compression  ${formatSize(sums.blockRawSize)} to ${formatSize(sums.blockStoredSize)} in ${count(sums.blockCount, 'block')}, ratio ${formatRatio(sums.blockRawSize, sums.blockStoredSize)}`
  ]
}

export interface BuildReport {
  readonly target: string
  readonly profile: string
  readonly totals: SnapshotTotals
  /** What became of the dictionary; absent when none was asked for. */
  readonly outcome: DictionaryOutcome | undefined
  readonly forgottenCount: number
  readonly elapsedMs: number
  /** Of this process, bytes. */
  readonly peakMemory: number
  /** When they were asked for. */
  readonly timings: Timings | undefined
}

/** The final summary of a build, for people. */
export function describeBuild({
  target,
  totals,
  outcome,
  forgottenCount,
  elapsedMs,
  peakMemory,
  timings
}: BuildReport): string {
  const sums = sumStreams(totals.streams)
  const rate = elapsedMs > 0 ? (sums.size / elapsedMs) * 1000 : 0
  const forgotten = `  the dedup table was full: ${count(forgottenCount, 'chunk')} could not be remembered; --dedup-memory gives it more`
  const dictionary = describeOutcome(totals.dictionary, outcome)
  return [
    shown`hexz: ${target}: ${formatSize(sums.size)} in, ${formatSize(totals.fileSize)} out, ratio ${formatRatio(sums.size, totals.fileSize)}`,
    ...savingLines(sums),
    ...(dictionary === undefined ? [] : [`  dictionary   ${dictionary}`]),
    ...(forgottenCount > 0 ? [forgotten] : []),
    `  ${(elapsedMs / 1000).toFixed(1)} s, ${formatSize(Math.round(rate))}/s, peak memory ${formatSize(peakMemory)}`,
    `  digest       ${hex(totals.snapshotDigest ?? new Uint8Array(0))}`,
    ...(timings === undefined ? [] : timingLines(timings))
  ].join('\n')
}

/** How long the others waited for each stage; together that is all the time there was. */
function timingLines({ wall, stages }: Timings): string[] {
  const seconds = (value: number): string => `${value.toFixed(2)} s`.padStart(9)
  return [
    `  ${'waited for'.padEnd(19)}${seconds(wall)}         threads worked`,
    ...stages.map(({ name, limited, worked }) => {
      const share = `${Math.round((100 * limited) / wall)} %`.padStart(6)
      return `    ${name.padEnd(19)}${seconds(limited).slice(2)}${share}${worked === 0 ? '' : seconds(worked)}`
    })
  ]
}

/** The same for programs; the keys are a contract (docs/cli.md). */
export function buildJson({
  target,
  profile,
  totals,
  outcome,
  forgottenCount,
  elapsedMs,
  peakMemory,
  timings
}: BuildReport): object {
  return {
    target,
    profile,
    rawSize: sumStreams(totals.streams).size,
    storedSize: totals.fileSize,
    streams: totals.streams,
    dictionary: dictionaryJson(totals.dictionary),
    dictionaryReason: outcome?.kind === 'none' ? outcome.reason : null,
    forgottenCount,
    elapsedMs: Math.round(elapsedMs),
    peakMemory,
    ...(timings === undefined ? {} : { timings }),
    digest: hex(totals.snapshotDigest ?? new Uint8Array(0))
  }
}

/** Peak resident memory of this process, bytes. */
export function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024
}

/** Messages remembered so that a damaged place which is read again and again is told once. */
const toldCountMax = 1000

/** Prints each failure of a read for a client, once. */
export function createTeller(): (error: unknown) => void {
  const told = new Set<string>()
  return (error) => {
    const text = error instanceof Error ? error.message : String(error)
    const line = isHexzError(error) ? text : `internal error: ${text}`
    if (told.has(line) || told.size >= toldCountMax) return
    told.add(line)
    process.stderr.write(`hexz: a read failed: ${printable(line)}\n`)
  }
}
