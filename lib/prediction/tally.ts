import { createSpread } from '../compression/spread.js'
import { createDigestTable, digestWords } from '../dedup/digest-table.js'
import { predictLimits } from '../limits.js'
import type { Settings } from '../profiles.js'
import type { DigestedRun } from '../workers/survey-tasks.js'
import { partCount } from './spread-of.js'

/** What became of the chunks of one way of cutting them. Sizes in bytes. */
export interface Counts {
  readonly rawSize: number
  readonly uniqueSize: number
  readonly uniqueCount: number
  readonly repeatSize: number
  readonly repeatCount: number
  readonly holeSize: number
  /** Runs of holes. */
  readonly holeCount: number
}

export interface Tally {
  readonly total: Counts
  /** The same of every eighth region. */
  readonly parts: readonly Counts[]
  /** Stored over raw size of the chunks that were tried, evenly spread over all unique bytes. */
  readonly shares: readonly number[]
  /** Milliseconds that compressing took for each byte. */
  readonly compressMs: number
  /** Bytes that were compressed for it. */
  readonly triedSize: number
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const noCounts = (): Mutable<Counts> => ({
  rawSize: 0,
  uniqueSize: 0,
  uniqueCount: 0,
  repeatSize: 0,
  repeatCount: 0,
  holeSize: 0,
  holeCount: 0
})

/** Keeps the books of one way of cutting chunks. */
export interface Teller {
  /**
   * Takes the next chunks, in order.
   *
   * @returns numbers of those whose compressed size is wanted
   */
  count(chunks: DigestedRun, region: number): number[]
  /** Takes the stored sizes of the chunks that were wanted of one `count`, in order. */
  measured(sizes: readonly number[], elapsedMs: number): void
  tally(): Tally
}

/**
 * @param sourceSize bytes of the source, 0 when not known: with it, fewer samples have to be dropped again
 */
export function createTeller(settings: Settings, sourceSize: number): Teller {
  const { readSizeMax, sampleCountMax } = predictLimits
  const { chunkSizeMin: min } = settings
  const table = createDigestTable(Math.ceil(readSizeMax / min))
  const spread = createSpread(sampleCountMax)
  /** A mark stands at each multiple of it on the line of unique bytes; the chunk that a mark falls in is a sample. */
  const markDistance = Math.max(min, Math.ceil(Math.min(sourceSize, readSizeMax) / (1.5 * sampleCountMax)))
  const total = noCounts()
  const parts = Array.from({ length: partCount }, noCounts)
  let wasHole = false
  /** Of those whose sizes are on their way: raw size and marks. */
  const wanted: { readonly rawSize: number; readonly marks: readonly number[] }[] = []
  let samples: { readonly mark: number; readonly share: number }[] = []
  let triedSize = 0
  let triedMs = 0

  const add = (region: number, change: (counts: Mutable<Counts>) => void): void => {
    change(total)
    const part = parts[region % partCount]
    if (part !== undefined) change(part)
  }

  /** The marks in the next unique bytes that are taken. */
  const marksIn = (size: number): number[] => {
    const marks: number[] = []
    for (
      let mark = Math.ceil(total.uniqueSize / markDistance);
      mark * markDistance < total.uniqueSize + size;
      mark++
    )
      if (spread.takes(mark)) marks.push(mark)
    return marks
  }

  return {
    count({ sizes, digests, isHole }, region) {
      const words = new Uint32Array(digests.buffer, digests.byteOffset, digests.length / 4)
      const picks: number[] = []
      for (let i = 0; i < sizes.length; i++) {
        const size = sizes[i] ?? 0
        const startsHole = isHole[i] === true && !wasHole
        wasHole = isHole[i] === true
        const isUnique = !wasHole && table.findOrAdd(words, i * digestWords) === -1
        const marks = isUnique ? marksIn(size) : []
        if (marks.length > 0) {
          picks.push(i)
          wanted.push({ rawSize: size, marks })
        }
        add(region, (counts) => {
          counts.rawSize += size
          if (wasHole) counts.holeSize += size
          else if (isUnique) counts.uniqueSize += size
          else counts.repeatSize += size
          if (startsHole) counts.holeCount += 1
          else if (isUnique) counts.uniqueCount += 1
          else if (!wasHole) counts.repeatCount += 1
        })
      }
      return picks
    },
    measured(sizes, elapsedMs) {
      triedMs += elapsedMs
      for (const stored of sizes) {
        const sample = wanted.shift()
        if (sample === undefined) throw new Error('more samples were measured than were wanted')
        triedSize += sample.rawSize
        for (const mark of sample.marks) samples.push({ mark, share: stored / sample.rawSize })
      }
      if (samples.length > 2 * sampleCountMax) samples = samples.filter(({ mark }) => spread.holds(mark))
    },
    tally: () => ({
      total: { ...total },
      parts: parts.map((part) => ({ ...part })),
      shares: samples.filter(({ mark }) => spread.holds(mark)).map(({ share }) => share),
      compressMs: triedSize === 0 ? 0 : triedMs / triedSize,
      triedSize
    })
  }
}
