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
const chunkSize = chunkSizes.at(-1) ?? 0

/**
 * Trains one dictionary, as a build with the largest of the chunk sizes would, and tries it on chunks of each size.
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
  const tried = samples.heldOut.filter((chunk) => !isZero(chunk))
  const effects = await Promise.all(
    chunkSizes.map(async (size) => {
      const groups = tried.map((chunk) => piecesOf(chunk, size))
      return [size, await measureEffect(groups, dictionary, pool)] as const
    })
  )
  return {
    kind: 'trained',
    storedSize: encodeDictionaryFrame(bytes).length,
    effects: new Map(effects),
    elapsedMs
  }
}

/** A chunk cut into smaller ones. */
function piecesOf(chunk: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(chunk.length / size) }, (_, i) =>
    chunk.subarray(i * size, (i + 1) * size)
  )
}

/** @param groups chunks of one place each; what differs from place to place is what is not sure */
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
  const sumsOf = (sizes: readonly number[] = []): number[] => {
    const left = sizes.values()
    return groups.map((group) => group.reduce((sum) => sum + (left.next().value ?? 0), 0))
  }
  const total = (sizes: readonly number[]): number => sizes.reduce((sum, size) => sum + size, 0)
  const before = sumsOf(plain?.sizes)
  const after = sumsOf(tried?.sizes)
  return {
    share: total(after) / Math.max(1, total(before)),
    error: standardError(after.map((size, i) => size / Math.max(1, before[i] ?? 0))),
    slowdown: (tried?.elapsedMs ?? 1) / Math.max(1e-3, plain?.elapsedMs ?? 1)
  }
}
