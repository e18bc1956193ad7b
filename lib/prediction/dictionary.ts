import { sizeWith, sizeWithout } from '../compression/dictionary.js'
import { encodeDictionaryFrame } from '../compression/dictionary-frame.js'
import { blake3 } from '../format/digest.js'
import { memoryLimits } from '../limits.js'
import { isZero } from '../chunking/zero.js'
import { sampleSources, type SampledSource } from '../source/sample.js'
import { chooseDictionary, type SampledBytes } from '../workers/choose-dictionary.js'
import type { WorkerPool } from '../workers/pool.js'
import { shareDictionary, type SharedDictionary } from '../workers/prepared.js'
import { standardError } from './spread-of.js'
import { ways } from './ways.js'

/** What a dictionary does for chunks of one size. */
export interface DictionaryEffect {
  /** Stored size with it, as a share of that without; above 1 when it costs. */
  readonly share: number
  /** Standard error of that. */
  readonly error: number
  /** Time that compressing takes with it, as a share of that without. */
  readonly slowdown: number
}

/** What a dictionary would do; or why there can be none. */
export type DictionaryPrediction =
  | {
      readonly kind: 'trained'
      /** Bytes of its frame. */
      readonly storedSize: number
      /** By average chunk size. */
      readonly effects: ReadonlyMap<number, DictionaryEffect>
      /** To sample and to train. */
      readonly elapsedMs: number
    }
  | { readonly kind: 'none'; readonly reason: string }

/** The profiles that use Zstd differ in their chunk size only. */
const zstd = ways
  .filter(({ cdc, settings }) => !cdc && settings.codec === 'zstd')
  .map(({ settings }) => settings)
const chunkSizes = [...new Set(zstd.map(({ chunkSizeAvg }) => chunkSizeAvg))].sort((a, b) => a - b)
const level = zstd[0]?.level ?? 3
const chunkSize = chunkSizes[0] ?? 0

/**
 * Trains one dictionary, as a build with the smallest of the chunk sizes would, and tries it on pairs of chunks of
 * that size; for larger chunks, on pairs joined.
 */
export async function predictDictionary(
  source: SampledSource,
  { pool, signal }: { readonly pool: WorkerPool; readonly signal?: AbortSignal | undefined }
): Promise<DictionaryPrediction> {
  const start = performance.now()
  const all = await sampleSources([source], chunkSize, signal)
  const samples = all.sizes.length > samplesEnough ? thinned(all) : all
  const outcome = await chooseDictionary(samples, { pool, level, always: true })
  if (outcome.kind === 'none') return outcome
  const elapsedMs = performance.now() - start
  const { bytes } = outcome.dictionary
  const dictionary = shareDictionary(bytes, blake3(bytes).toString('hex'))
  const pairs = samples.pairs.filter((pair) => !pair.every(isZero))
  const effects = await Promise.all(
    chunkSizes.map(async (size) => {
      const chunks = size === chunkSize ? pairs : pairs.map(([first]) => [joined(first, size)])
      return [size, await measureEffect(chunks, dictionary, pool)] as const
    })
  )
  return {
    kind: 'trained',
    storedSize: encodeDictionaryFrame(bytes).length,
    effects: new Map(effects),
    elapsedMs
  }
}

/** Of more samples than this, half are enough. */
const samplesEnough = memoryLimits.samplePieceCountMax / 2

/** Every second sample: enough to tell, in half the time. */
function thinned({ training, sizes, pairs, likelySize }: SampledBytes): SampledBytes {
  let start = 0
  let end = 0
  const kept = sizes.filter((size, i) => {
    if (i % 2 === 0) {
      training.copyWithin(end, start, start + size)
      end += size
    }
    start += size
    return i % 2 === 0
  })
  return {
    training: training.subarray(0, end),
    sizes: kept,
    pairs: pairs.filter((_, i) => i % 2 === 0),
    likelySize
  }
}

/** Both chunks of a pair lie side by side in memory, as they do in the source. */
function joined(first: Uint8Array, size: number): Uint8Array {
  return new Uint8Array(first.buffer, first.byteOffset, Math.min(size, 2 * first.length))
}

/** @param groups chunks that lie side by side; the first of them decides for all whether the dictionary is used */
async function measureEffect(
  groups: readonly (readonly Uint8Array[])[],
  dictionary: SharedDictionary,
  pool: WorkerPool
): Promise<DictionaryEffect> {
  const chunks = groups.flat()
  const [plain, tried] = await pool.run('measureChunks', [
    { codec: 'zstd', level, chunks },
    { codec: 'zstd', level, dictionary, chunks }
  ])
  const pairSizes = (sizes: readonly number[] = []): [number, number][] => {
    const left = sizes.values()
    return groups.map((group) => [left.next().value ?? 0, group.length > 1 ? (left.next().value ?? 0) : 0])
  }
  const before = pairSizes(plain?.sizes)
  const after = pairSizes(tried?.sizes)
  const shares = before.map(
    (pair, i) => sizeWith([pair], after.slice(i, i + 1)) / Math.max(1, sizeWithout([pair]))
  )
  return {
    share: sizeWith(before, after) / Math.max(1, sizeWithout(before)),
    error: standardError(shares),
    slowdown: (tried?.elapsedMs ?? 1) / Math.max(1e-3, plain?.elapsedMs ?? 1)
  }
}
