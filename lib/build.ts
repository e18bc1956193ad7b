import type { Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { roomBeforeRead } from '../transforms/cut-fastcdc.js'
import { readSource } from '../transforms/reader.js'
import {
  chunker,
  compressor,
  dedupCapacity,
  dedupFilter,
  dictionarySampler,
  encryptor,
  inOrder,
  indexer,
  sink,
  type Stage
} from '../transforms/index.js'
import type { DictionaryOutcome } from './compression/dictionary.js'
import type { SnapshotTotals } from './format/index-writer.js'
import { lock, type Locks } from './crypto/slots.js'
import { wipe, type Sealing } from './crypto/sealing.js'
import {
  makeHeader,
  resolveDictionary,
  resolveSettings,
  type DictionaryOptions,
  type SettingsOptions
} from './profiles.js'
import { checkPipeline, checkStreams } from './option-tables.js'
import type { DictionaryRecord, FilteredBatch, StreamStart } from './records.js'
import { sampleSources } from './source/sample.js'
import type { Source } from './source/source.js'
import type { Target } from './target/target.js'
import { watchStages, type StageWatch, type Timings } from './timings.js'
import type { SampledBytes } from './workers/choose-dictionary.js'
import { createPoolFor, type TaskName, type WorkerPool } from './workers/pool.js'
import { createSlabPool, type BatchSlabs } from './workers/slabs.js'

export interface StreamSource {
  /** Name of the stream in the snapshot, such as `disk`; a-z 0-9 . _ - */
  readonly name: string
  readonly source: Source
  /** Bytes the source must give. */
  readonly expectSize?: number
  /** A pipe may give no byte at all; default false. */
  readonly allowEmpty?: boolean
}

export interface PipelineOptions extends SettingsOptions, DictionaryOptions {
  /** Worker threads, 1 to 64; default one a core. The bytes written do not depend on it. */
  readonly concurrency?: number
  /** Bytes of the dedup table, handles included; default 512 MiB. */
  readonly dedupMemory?: number
  /** Bytes of a pipe that are held to train a dictionary on; default 16 MiB. */
  readonly dictionaryWindow?: number
  /** Encrypt, and give each of these keys a slot. Bytes of a passphrase are used as they are, a text in NFC. */
  readonly locks?: Locks | undefined
  readonly signal?: AbortSignal
  /** Called with the totals so far, about once every 2 MiB. */
  readonly onProgress?: (totals: SnapshotTotals) => void
  /** Called when it is decided whether a dictionary is used; not where none is asked for. */
  readonly onDictionary?: (outcome: DictionaryOutcome) => void
  /** Called once, when the target is committed, with what each stage took. */
  readonly onTimings?: (timings: Timings) => void
}

/**
 * Builds a snapshot of some streams into a target. This is the whole product on one screen.
 *
 * Closes the sources. Commits the target, or on any failure discards it and throws the first error:
 * SourceError, TargetError, UsageError, LimitError, or the signal's AbortError.
 */
export async function buildStreams(
  streams: readonly StreamSource[],
  target: Target,
  options: PipelineOptions = {}
): Promise<SnapshotTotals> {
  checkStreams(streams, target)
  try {
    checkPipeline(options)
    return await run(streams, target, options)
  } finally {
    await target.discard()
    for (const { source } of streams) await source.close().catch(() => undefined) // closed already where it was read
  }
}

async function run(
  streams: readonly StreamSource[],
  target: Target,
  options: PipelineOptions
): Promise<SnapshotTotals> {
  const settings = resolveSettings(options)
  const names = streams.map((stream) => stream.name)
  const header = makeHeader(settings, names, options.locks !== undefined)
  const { chunker: name, codec, level, chunkSizeMin: min, chunkSizeAvg: avg, chunkSizeMax: max } = settings
  const capacity = dedupCapacity(options.dedupMemory)
  const pool = createPoolFor(totalSize(streams), options.concurrency)
  let sealing: Sealing | undefined
  let watch: StageWatch | undefined
  try {
    const locked = options.locks === undefined ? undefined : lock(header, options.locks)
    sealing = locked?.sealing
    const slabs = createSlabPool()
    const slots = locked === undefined ? {} : { keySlots: locked.keySlots }
    const { onProgress } = options
    const done: { totals?: SnapshotTotals } = {}
    const stages = inOrder(
      chunker({ chunker: name, min, avg, max, pool, slabs }),
      dedupFilter({ capacity, pool }),
      await makeSampler(streams, options, pool),
      compressor({ codec, level, pool, slabs }),
      indexer({ header, capacity, ...slots, onProgress, onSummary: (totals) => (done.totals = totals) }),
      encryptor({ sealing, pool, slabs })
    )
    const end = sink(target)
    watch = watchStages(stages, end)
    const flow = pipeline(
      // It takes iterables, too; the types know that of few stages only.
      readAll(streams, slabs, name === 'fastcdc' ? roomBeforeRead(max) : 0) as unknown as Readable,
      ...stages,
      end,
      options.signal === undefined ? {} : { signal: options.signal }
    )
    // A failed pipeline still waits for its source, which may wait for a far side that has nothing to say.
    await Promise.race([flow, finished(end).then(() => flow)])
    options.onTimings?.(watch.timings(workedFor(pool)))
    if (done.totals === undefined) throw new Error('the pipeline ended without a footer')
    return done.totals
  } finally {
    watch?.end()
    await pool.close()
    wipe(sealing?.dataKey)
  }
}

/**
 * With samples of the sources, taken before the first pass, since a source is closed when it has been read. A function of
 * its own, because the frame of `run` would hold on to the samples until the end.
 */
async function makeSampler(
  streams: readonly StreamSource[],
  options: PipelineOptions,
  pool: WorkerPool
): Promise<Stage<FilteredBatch, FilteredBatch | DictionaryRecord>> {
  const settings = resolveSettings(options)
  const { level, chunkSizeAvg: chunkSize } = settings
  const mode = resolveDictionary(options, settings)
  const isTrained = mode === 'auto' || mode === 'always'
  const samples = isTrained ? await sampleAll(streams, chunkSize, options.signal) : undefined
  const window = options.dictionaryWindow
  return dictionarySampler({
    mode,
    level,
    chunkSize,
    samples,
    pool,
    onDictionary: options.onDictionary,
    ...(window === undefined ? {} : { windowSize: window })
  })
}

/** Samples of all sources; `undefined` when one of them is a pipe. */
async function sampleAll(
  streams: readonly StreamSource[],
  chunkSize: number,
  signal: AbortSignal | undefined
): Promise<SampledBytes | undefined> {
  const found = streams.flatMap(({ source: { size, readAt } }) =>
    size === undefined || size === 0 || readAt === undefined ? [] : { size, readAt }
  )
  return found.length === streams.length ? sampleSources(found, chunkSize, signal) : undefined
}

/** Of all streams; `undefined` where one is a pipe. */
function totalSize(streams: readonly StreamSource[]): number | undefined {
  return streams.reduce<number | undefined>(
    (sum, { source: { size } }) => (sum === undefined || size === undefined ? undefined : sum + size),
    0
  )
}

/** The stage that each task of a build is done for. */
const stageOfTask: Partial<Record<TaskName, string>> = {
  findCuts: 'chunker',
  digestChunks: 'dedup filter',
  screenSamples: 'dictionary sampler',
  listSampleDmers: 'dictionary sampler',
  trainCandidate: 'dictionary sampler',
  measureCandidate: 'dictionary sampler',
  compressChunks: 'compressor',
  sealFrames: 'encryptor'
}

/** Seconds of the worker threads by stage. */
function workedFor(pool: WorkerPool): Map<string, number> {
  const worked = new Map<string, number>()
  for (const [task, seconds] of pool.worked) {
    const stage = stageOfTask[task] ?? ''
    worked.set(stage, (worked.get(stage) ?? 0) + seconds)
  }
  return worked
}

/**
 * The streams' bytes, one stream after another, each announced by its number. The chunker takes over what was
 * read into a slab, and copies any other piece before it asks for the next.
 */
async function* readAll(
  streams: readonly StreamSource[],
  slabs: BatchSlabs,
  room: number
): AsyncGenerator<Uint8Array | StreamStart> {
  for (const [stream, { source, ...options }] of streams.entries()) {
    yield { kind: 'stream', stream }
    yield* readSource(source, { ...options, reuse: true, slabs, room })
  }
}
