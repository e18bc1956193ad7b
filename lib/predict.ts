import { orAborted } from './abort.js'
import { toSource, type SourceLike } from './api.js'
import { memoryLimits } from './limits.js'
import { predictDictionary } from './prediction/dictionary.js'
import { estimateBuilds, fastestBuild, smallestBuild, type PredictedBuild } from './prediction/estimate.js'
import { survey } from './prediction/survey.js'
import { checkPredict } from './option-tables.js'
import { createReservoir } from './source/reservoir.js'
import { noBytes } from './source/source-error.js'
import type { Source } from './source/source.js'
import { createWorkerPool } from './workers/pool.js'

export interface PredictSettings {
  /** Worker threads, 1 to 64; default one a core. The sizes do not depend on it. */
  readonly concurrency?: number
  readonly signal?: AbortSignal
}

export interface PredictOptions extends PredictSettings {
  /** What would be built. Of a stream, the first 2 GiB are read. */
  readonly source: SourceLike
}

export interface Prediction {
  /** Bytes of the source; of a pipe, what was read of it. */
  readonly size: number
  /** Bytes that were read. */
  readonly readSize: number
  /** Whether that was all. If not, repeats that lie far apart were not seen, and a build may come out smaller. */
  readonly isWhole: boolean
  /** Each profile, without and with content-defined chunking, without and with a dictionary. */
  readonly builds: readonly PredictedBuild[]
  readonly smallest: PredictedBuild
  readonly fastest: PredictedBuild
}

/**
 * What each profile would give for a source, before anything is built. Reads up to 2 GiB of it: holes and repeats
 * are counted in all of that, compression and the dictionary are tried on samples.
 *
 * @throws SourceError; UsageError for a wrong concurrency; the reason of `signal`
 */
export async function predict(options: PredictOptions): Promise<Prediction> {
  checkPredict(options)
  const { source, ...settings } = options
  return predictSource(await toSource(source), settings)
}

/** The same of a source that is open. Closes it. */
export async function predictSource(source: Source, settings: PredictSettings = {}): Promise<Prediction> {
  try {
    return await run(source, settings)
  } finally {
    await source.close().catch(() => undefined) // it was only read
  }
}

async function run(source: Source, { concurrency, signal }: PredictSettings): Promise<Prediction> {
  const pool = createWorkerPool(concurrency)
  const { size, readAt } = source
  const isReadable = size !== undefined && size > 0 && readAt !== undefined
  const work = async (): Promise<Prediction> => {
    const options = { pool, signal }
    const reservoir = createReservoir(memoryLimits.reservoirSize)
    // Of a file, samples are read and trained on at the same time; of a pipe, when it has passed.
    const early = isReadable ? predictDictionary({ size, readAt }, options) : undefined
    early?.catch(() => undefined) // told when its turn comes
    const found = await survey(source, isReadable ? options : { ...options, onBytes: reservoir.add })
    if (found.readSize === 0 && source.isPipe === true) throw noBytes(source.name)
    const dictionary = await (early ?? predictDictionary(reservoir.end(), options))
    const builds = await estimateBuilds(found, dictionary, pool.size)
    const [smallest, fastest] = [smallestBuild(builds), fastestBuild(builds)]
    if (smallest === undefined || fastest === undefined) throw new Error('there are no profiles')
    const { readSize, isWhole } = found
    return { size: found.size, readSize, isWhole, builds, smallest, fastest }
  }
  try {
    return await orAborted(work(), signal)
  } finally {
    await pool.close()
  }
}
