import { orAborted } from './abort.js'
import { toSource, type SourceLike } from './api.js'
import type { Dictionary } from './compression/dictionary.js'
import { SourceError, UsageError } from './errors.js'
import { formatLimits, memoryLimits } from './limits.js'
import { checkTrain } from './option-tables.js'
import { checkLevel } from './profiles.js'
import { createReservoir, joinSources } from './source/reservoir.js'
import { sampleSources, type SampledSource } from './source/sample.js'
import type { Source } from './source/source.js'
import { chooseDictionary } from './workers/choose-dictionary.js'
import { createWorkerPool } from './workers/pool.js'

export interface TrainSettings {
  /** Bytes of the dictionary, at most: 1 KiB to 1 MiB; default 110 KiB. */
  readonly size?: number
  /** Zstd's level that it is measured by, 1 to 19; default 3. */
  readonly level?: number
  /** Worker threads, 1 to 64; default one a core. The dictionary does not depend on it. */
  readonly concurrency?: number
  readonly signal?: AbortSignal
}

export interface TrainOptions extends TrainSettings {
  /** Paths of files and devices, which are sampled all over; of other streams, parts are kept as they pass. */
  readonly sources: readonly SourceLike[]
}

/** Bytes of a chunk that it is measured on: those of the profile `eda`. */
const chunkSize = 128 * 1024

/** The least a dictionary is trained on: as many chunks as are enough to measure it by. */
export const trainingSizeMin = 32 * chunkSize

export const dictionarySizeMin = 1024

/**
 * Trains a dictionary on all sources together, as if they lay one behind the other. Its content is raw, so that
 * `zstd -D` takes it as well. It depends on the sources, their order, and the settings alone.
 *
 * Holds 32 MiB of samples and, of pipes, 32 MiB more.
 *
 * @throws SourceError, SOURCE_UNSUITABLE among them when there is too little to train on; UsageError; the reason of
 * `signal`
 */
export async function train(options: TrainOptions): Promise<Dictionary> {
  checkTrain(options)
  const { sources, ...settings } = options
  checkTrainSettings(settings, sources.length)
  return trainOn(await openEach(sources, toSource), settings)
}

/** Opens all of them, or none. */
export async function openEach<From>(
  all: readonly From[],
  open: (from: From) => Source | Promise<Source>
): Promise<Source[]> {
  const opened: Source[] = []
  try {
    for (const from of all) opened.push(await open(from))
    return opened
  } catch (error) {
    for (const source of opened) await source.close().catch(() => undefined) // nothing was read of it
    throw error
  }
}

/** Tells of what is out of range before anything is opened. @throws UsageError */
export function checkTrainSettings({ size, level }: TrainSettings, sourceCount: number): void {
  const { dictionarySizeMax } = formatLimits
  const { trainingSourceCountMax } = memoryLimits
  if (
    size !== undefined &&
    !(Number.isInteger(size) && size >= dictionarySizeMin && size <= dictionarySizeMax)
  )
    throw new UsageError(`a dictionary has 1K to 1M, not ${size} bytes`)
  if (level !== undefined) checkLevel(level)
  if (sourceCount === 0) throw new UsageError('there is no source to train on')
  if (sourceCount > trainingSourceCountMax)
    throw new UsageError(
      `${sourceCount} sources are named, and ${trainingSourceCountMax} is the most; put them through tar and train on -`
    )
}

/** The same of sources that are open. Closes them. */
export async function trainOn(sources: readonly Source[], settings: TrainSettings = {}): Promise<Dictionary> {
  const { size, level = 3, concurrency, signal } = settings
  const pool = createWorkerPool(concurrency)
  const work = async (): Promise<Dictionary> => {
    const source = await toSampled(sources, signal)
    if (source.size < trainingSizeMin)
      throw unsuitable(`they have ${source.size} bytes, and ${trainingSizeMin} (4 MiB) is the least`)
    const samples = await sampleSources([source], chunkSize, signal)
    const outcome = await chooseDictionary(samples, {
      pool,
      level,
      always: true,
      ...(size === undefined ? {} : { size })
    })
    if (outcome.kind === 'none') throw unsuitable(outcome.reason)
    return outcome.dictionary
  }
  try {
    return await orAborted(work(), signal)
  } finally {
    await pool.close()
    for (const source of sources) await source.close().catch(() => undefined) // it was only read
  }
}

/** Everything as one that can be read anywhere; pipes are read to their end, and share the room for what is kept. */
async function toSampled(
  sources: readonly Source[],
  signal: AbortSignal | undefined
): Promise<SampledSource> {
  const isPipe = ({ size, readAt }: Source): boolean =>
    size === undefined || size === 0 || readAt === undefined // files of /proc say 0 and give bytes all the same
  const room = memoryLimits.reservoirSize / Math.max(1, sources.filter(isPipe).length)
  const sampled: SampledSource[] = []
  for (const source of sources) {
    const { size, readAt } = source
    if (size !== undefined && readAt !== undefined && !isPipe(source)) {
      sampled.push({ size, readAt })
      continue
    }
    const reservoir = createReservoir(room)
    for await (const piece of source.read({ reuse: true })) {
      signal?.throwIfAborted()
      reservoir.add(piece)
    }
    sampled.push(reservoir.end())
  }
  return joinSources(sampled)
}

function unsuitable(reason: string): SourceError {
  return new SourceError('SOURCE_UNSUITABLE', `no dictionary can be trained on the sources: ${reason}`)
}
