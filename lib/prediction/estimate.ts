import { isWorthIt } from '../compression/dictionary.js'
import { digestSize } from '../format/digest.js'
import { blockPrefixSize, encodeHoleFrame, frameHeaderSize, repeatItemSize } from '../format/frame.js'
import { createIndexWriter } from '../format/index-writer.js'
import { makeHeader, type ProfileName, type Settings } from '../profiles.js'
import type { DictionaryPrediction } from './dictionary.js'
import { mean, partCount, standardError } from './spread-of.js'
import type { Survey } from './survey.js'
import type { Counts, Tally } from './tally.js'
import { ways, type Way } from './ways.js'

/** What a build with these settings would give. */
export interface PredictedBuild {
  readonly profile: ProfileName
  readonly cdc: boolean
  /** Whether a dictionary is trained, and used where it pays. */
  readonly dictionary: boolean
  /** Whether it is likely to pay. */
  readonly dictionaryPays: boolean
  /** Bytes of the snapshot. */
  readonly storedSize: number
  /** Raw over stored size; 0 for an empty source. */
  readonly ratio: number
  /** Of the ratio, as a share of it: twice the standard error. */
  readonly error: number
  /** Shares of the source. */
  readonly holeShare: number
  readonly repeatShare: number
  /** Bytes of the source in a second; a rough estimate. */
  readonly speed: number
}

/** Bytes of an index page's entry, beside the digest, once compressed: about. */
const entrySize = 3
const blockOverhead = frameHeaderSize + blockPrefixSize + digestSize + entrySize
const repeatOverhead = repeatItemSize + digestSize + entrySize
const holeOverhead = frameHeaderSize + entrySize

/** Of all ways, each without a dictionary and, for Zstd, with one. */
export async function estimateBuilds(
  survey: Survey,
  dictionary: DictionaryPrediction,
  threads: number
): Promise<PredictedBuild[]> {
  const builds: PredictedBuild[] = []
  for (const [i, way] of ways.entries()) {
    const tally = survey.tallies[i]
    if (tally === undefined) continue
    const fixedSize = await emptySize(way.settings)
    builds.push(estimate({ way, tally, survey, threads, fixedSize, dictionary: undefined }))
    if (way.settings.codec === 'zstd')
      builds.push(estimate({ way, tally, survey, threads, fixedSize, dictionary }))
  }
  return builds
}

interface EstimateParts {
  readonly way: Way
  readonly tally: Tally
  readonly survey: Survey
  readonly threads: number
  /** Bytes of a snapshot of one hole. */
  readonly fixedSize: number
  readonly dictionary: DictionaryPrediction | undefined
}

function estimate({ way, tally, survey, threads, fixedSize, dictionary }: EstimateParts): PredictedBuild {
  const { profile, cdc, settings } = way
  const { total, shares } = tally
  const scale = total.rawSize === 0 ? 1 : survey.size / total.rawSize
  const blocksSize = total.uniqueSize * mean(shares) * scale
  const framesSize =
    (total.uniqueCount * blockOverhead +
      total.repeatCount * repeatOverhead +
      Math.max(0, total.holeCount - 1) * holeOverhead) *
    scale
  const trained = dictionary?.kind === 'trained' ? dictionary : undefined
  const effect = trained?.effects.get(settings.chunkSizeAvg)
  const dictionarySize = trained?.storedSize ?? 0
  const dictionaryPays =
    effect !== undefined && isWorthIt((1 - effect.share) * 10000, dictionarySize, blocksSize)
  const used = dictionaryPays ? effect : undefined
  const storedSize = Math.round(
    fixedSize + framesSize + blocksSize * (used?.share ?? 1) + (used === undefined ? 0 : dictionarySize)
  )
  const share = (size: number): number => (total.rawSize === 0 ? 0 : size / total.rawSize)
  const errors = [
    sampleError(tally),
    used === undefined ? 0 : used.error / used.share,
    regionError(survey, tally)
  ]
  const blocksShare = storedSize === 0 ? 0 : blocksSize / storedSize
  return {
    profile,
    cdc,
    dictionary: dictionary !== undefined,
    dictionaryPays,
    storedSize,
    ratio: survey.size / storedSize,
    error: 2 * Math.min(1, blocksShare) * Math.hypot(...errors),
    holeShare: share(total.holeSize),
    repeatShare: share(total.repeatSize),
    speed: estimateSpeed({
      survey,
      threads,
      cdc,
      compressMs: tally.compressMs * share(total.uniqueSize) * (used?.slowdown ?? 1),
      trainingMs: trained?.elapsedMs ?? 0
    })
  }
}

/** Of the share that blocks take, by the samples; none when everything was tried. */
function sampleError({ total, shares, triedSize }: Tally): number {
  const untried = total.uniqueSize === 0 ? 0 : Math.max(0, 1 - triedSize / total.uniqueSize)
  const centre = mean(shares)
  return centre === 0 ? 0 : (standardError(shares) / centre) * Math.sqrt(untried)
}

/** Of the share that is unique, by how much it differs between every eighth region; none when all was read. */
function regionError(survey: Survey, { parts }: Tally): number {
  if (survey.isWhole || parts.some(({ rawSize }) => rawSize === 0)) return 0
  const uniqueShares = parts.map(({ uniqueSize, rawSize }: Counts) => uniqueSize / rawSize)
  const centre = mean(uniqueShares)
  return parts.length < partCount || centre === 0 ? 0 : standardError(uniqueShares) / centre
}

interface SpeedParts {
  readonly survey: Survey
  readonly threads: number
  readonly cdc: boolean
  /** For each byte of the source, on one thread. */
  readonly compressMs: number
  /** In all. */
  readonly trainingMs: number
}

/** The main thread reads and cuts; the others digest and compress; all share the cores. Nothing else is counted. */
function estimateSpeed({ survey, threads, cdc, compressMs, trainingMs }: SpeedParts): number {
  const { readMs, scanMs, digestMs, size } = survey
  const mainMs = readMs + (cdc ? scanMs : 0)
  const perByte = Math.max(mainMs, (mainMs + digestMs + compressMs) / threads)
  const elapsedMs = perByte * size + trainingMs
  return elapsedMs === 0 ? 0 : (size / elapsedMs) * 1000
}

/** Bytes of a snapshot of one hole. */
async function emptySize(settings: Settings): Promise<number> {
  const index = createIndexWriter({ header: makeHeader(settings, ['disk']) })
  index.place(encodeHoleFrame(0, 1).length)
  index.addHole(0, 1)
  await index.endPage()
  await index.endRoot()
  return index.totals().fileSize
}

/** Two sizes, or two speeds, that differ by less are as good as the same. */
const sizeTolerance = 0.005
const speedTolerance = 0.1

/** Of those that are as small as the smallest, the fastest. */
export function smallestBuild(builds: readonly PredictedBuild[]): PredictedBuild | undefined {
  const least = Math.min(...builds.map(({ storedSize }) => storedSize))
  return best(
    builds.filter(({ storedSize }) => storedSize <= least * (1 + sizeTolerance)),
    ({ speed }) => speed
  )
}

/** Of those that are as fast as the fastest, the one that makes the smallest snapshot. */
export function fastestBuild(builds: readonly PredictedBuild[]): PredictedBuild | undefined {
  const most = Math.max(...builds.map(({ speed }) => speed))
  return best(
    builds.filter(({ speed }) => speed >= most * (1 - speedTolerance)),
    ({ storedSize }) => -storedSize
  )
}

/** The first with the highest score. */
function best(
  builds: readonly PredictedBuild[],
  score: (build: PredictedBuild) => number
): PredictedBuild | undefined {
  return builds.reduce<PredictedBuild | undefined>(
    (found, build) => (found === undefined || score(build) > score(found) ? build : found),
    undefined
  )
}
