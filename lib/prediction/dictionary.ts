import { encodeDictionaryFrame } from '../compression/dictionary-frame.js'
import { blake3 } from '../format/digest.js'
import { isZero } from '../chunking/zero.js'
import { sampleSources, type SampledSource } from '../source/sample.js'
import { chooseDictionary } from '../workers/choose-dictionary.js'
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
 * Trains one dictionary, as a build with the smallest of the chunk sizes would, and tries it on chunks of each size.
 */
export async function predictDictionary(
  source: SampledSource,
  { pool, signal }: { readonly pool: WorkerPool; readonly signal?: AbortSignal | undefined }
): Promise<DictionaryPrediction> {
  const start = performance.now()
  const samples = await sampleSources([source], chunkSize, signal)
  const outcome = await chooseDictionary(samples, { pool, level, always: true })
  if (outcome.kind === 'none') return outcome
  const elapsedMs = performance.now() - start
  const { bytes } = outcome.dictionary
  const dictionary = shareDictionary(bytes, blake3(bytes).toString('hex'))
  const effects = await Promise.all(
    chunkSizes.map(async (size) => {
      const { heldOut } = size === chunkSize ? samples : await sampleSources([source], size, signal)
      const chunks = heldOut.filter((chunk) => !isZero(chunk))
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

async function measureEffect(
  chunks: readonly Uint8Array[],
  dictionary: SharedDictionary,
  pool: WorkerPool
): Promise<DictionaryEffect> {
  const [plain, tried] = await pool.run('measureChunks', [
    { codec: 'zstd', level, chunks },
    { codec: 'zstd', level, dictionary, chunks }
  ])
  const total = (sizes: readonly number[] = []): number => sizes.reduce((sum, size) => sum + size, 0)
  const shares = plain?.sizes.map((size, i) => (tried?.sizes[i] ?? size) / size) ?? []
  return {
    share: total(tried?.sizes) / Math.max(1, total(plain?.sizes)),
    error: standardError(shares),
    slowdown: (tried?.elapsedMs ?? 1) / Math.max(1e-3, plain?.elapsedMs ?? 1)
  }
}
