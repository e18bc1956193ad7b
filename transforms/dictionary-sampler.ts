import {
  bytes,
  callback,
  count,
  either,
  number,
  object,
  oneOf,
  workerPool,
  checkOptions,
  type OptionTable
} from '../lib/check-options.js'
import { planSamples } from '../lib/compression/sampling.js'
import {
  checkDictionary,
  type DictionaryMode,
  type DictionaryOutcome
} from '../lib/compression/dictionary.js'
import { memoryLimits } from '../lib/limits.js'
import { type DictionaryRecord, type FilteredBatch, type UniqueChunk } from '../lib/records.js'
import { chooseDictionary, type SampledBytes } from '../lib/workers/choose-dictionary.js'
import { inlinePool, type WorkerPool } from '../lib/workers/pool.js'
import { defineStage, expectRecords, type Outputs, type StageParts } from './stage.js'

export interface DictionarySamplerOptions {
  /** `auto` trains one and uses it where it pays, `always` also where it does not; or a ready one. Default `off`. */
  readonly mode?: DictionaryMode
  /** Zstd's level, by which it is measured. Default 3. */
  readonly level?: number
  /** Bytes of a chunk, on average. Default 128 KiB. */
  readonly chunkSize?: number
  /** Samples of what is going to come, from `sampleSources()`: trained on instead of the batches. */
  readonly samples?: SampledBytes | undefined
  /** Without samples: bytes of the batches that wait until there are enough to train on. Default 16 MiB. */
  readonly windowSize?: number
  readonly pool?: WorkerPool
  /** Called once with the outcome, unless the mode is `off`. */
  readonly onDictionary?: ((outcome: DictionaryOutcome) => void) | undefined
}

const optionTable: OptionTable<DictionarySamplerOptions> = {
  mode: either(oneOf('auto', 'always', 'off'), bytes),
  level: number,
  chunkSize: count(1),
  samples: object,
  windowSize: count(1),
  pool: workerPool,
  onDictionary: callback
}

/**
 * FilteredBatch → FilteredBatch | DictionaryRecord. Puts a dictionary in front of the first batch with a unique
 * chunk, when it is given one or one that is trained pays; everything else passes as it is, in order.
 *
 * Holds the samples until it has trained, at most 20 MiB; without them, `windowSize` of batches, and at most
 * 8 MiB of copies while it trains. Training takes as much as its samples again.
 */
export const dictionarySampler = defineStage('dictionary sampler', dictionarySamplerParts)

function dictionarySamplerParts(
  options: DictionarySamplerOptions = {}
): StageParts<FilteredBatch, FilteredBatch | DictionaryRecord> {
  checkOptions('dictionarySampler()', options, optionTable)
  const { mode = 'off', level = 3, chunkSize = 128 * 1024, pool = inlinePool } = options
  const { windowSize = memoryLimits.dictionaryWindowDefault } = options
  let { samples } = options
  let held: FilteredBatch[] = []
  let heldSize = 0
  let isSettled = mode === 'off'

  const decide = (isWhole: boolean): Promise<DictionaryOutcome> | DictionaryOutcome => {
    if (mode instanceof Uint8Array)
      return { kind: 'used', dictionary: checkDictionary(mode, 'the dictionary') }
    const sampled = samples ?? sampleBatches(held, chunkSize, isWhole)
    samples = undefined
    return chooseDictionary(sampled, { pool, level, always: mode === 'always' })
  }

  async function* settle(isWhole: boolean): AsyncGenerator<FilteredBatch | DictionaryRecord> {
    isSettled = true
    const outcome = await decide(isWhole)
    options.onDictionary?.(outcome)
    if (outcome.kind === 'used') yield { kind: 'dictionary', ...outcome.dictionary }
    const batches = held
    held = []
    for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) yield batch
  }

  const take = (batch: FilteredBatch): Outputs<FilteredBatch | DictionaryRecord> => {
    if (isSettled) return [batch]
    const isStored = batch.chunks.some((chunk) => chunk.kind === 'unique')
    if (!isStored && held.length === 0) return [batch]
    held.push(isStored ? batch : withoutBytes(batch))
    heldSize += batch.chunks.length * memoryLimits.waitingChunkSize + (isStored ? batch.bytes.length : 0)
    const mayTrain = mode instanceof Uint8Array || samples !== undefined || heldSize >= windowSize
    return mayTrain ? settle(false) : []
  }

  const end = (): Outputs<FilteredBatch | DictionaryRecord> => (held.length > 0 ? settle(true) : [])

  return { check: expectRecords('dictionarySampler()', 'filtered'), take, end }
}

/** Holes and repeats need no bytes: they are given back while the batch waits. */
function withoutBytes({ release, ...batch }: FilteredBatch): FilteredBatch {
  release?.()
  return { ...batch, bytes: new Uint8Array(0) }
}

/** Samples of the unique chunks of some batches. */
function sampleBatches(batches: readonly FilteredBatch[], chunkSize: number, isWhole: boolean): SampledBytes {
  const chunks = batches.flatMap(({ bytes, chunks }) =>
    chunks
      .filter((chunk): chunk is UniqueChunk => chunk.kind === 'unique')
      .map(({ start, rawSize }) => bytes.subarray(start, start + rawSize))
  )
  const chunkAt = (i: number): Uint8Array => chunks[i] ?? new Uint8Array(0)
  const { pieces, heldOut } = planSamples(chunks.length, chunkSize)
  const found = pieces
    .map(({ chunk, start, size }) => chunkAt(chunk).subarray(start, start + size))
    .filter((piece) => piece.length > 0)
  const training = new Uint8Array(new SharedArrayBuffer(found.reduce((sum, piece) => sum + piece.length, 0)))
  let end = 0
  for (const piece of found) {
    training.set(piece, end)
    end += piece.length
  }
  const seenSize = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  return {
    training,
    sizes: found.map((piece) => piece.length),
    heldOut: heldOut.map(chunkAt),
    // A stream that goes on is likely to bring as much again as it has brought.
    likelySize: isWhole ? seenSize : 2 * seenSize
  }
}
