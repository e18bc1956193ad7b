import { pipeline } from 'node:stream/promises'
import { readSource } from '../transforms/reader.js'
import {
  chunker,
  compressor,
  dedupCapacity,
  dedupFilter,
  dictionarySampler,
  encryptor,
  indexer,
  sink
} from '../transforms/index.js'
import type { SnapshotTotals } from './format/index-writer.js'
import { makeHeader, resolveSettings, type SettingsOptions } from './profiles.js'
import type { StreamStart } from './records.js'
import type { Source } from './source/source.js'
import type { Target } from './target/target.js'
import { createWorkerPool, type WorkerPool } from './workers/pool.js'
import { createSlabPool } from './workers/slabs.js'

export interface StreamSource {
  /** Name of the stream in the snapshot, such as `disk`; a-z 0-9 . _ - */
  readonly name: string
  readonly source: Source
  /** Bytes the source must give. */
  readonly expectSize?: number
}

export interface PipelineOptions extends SettingsOptions {
  /** Worker threads, 1 to 64; default one a core. The bytes written do not depend on it. */
  readonly concurrency?: number
  /** Bytes of the dedup table, handles included; default 512 MiB. */
  readonly dedupMemory?: number
  readonly signal?: AbortSignal
  /** Called with the totals so far, about once a MiB. */
  readonly onProgress?: (totals: SnapshotTotals) => void
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
  let pool: WorkerPool | undefined
  try {
    const settings = resolveSettings(options)
    const header = makeHeader(
      settings,
      streams.map((stream) => stream.name)
    )
    const { chunker: name, codec, level, chunkSizeMin: min, chunkSizeAvg: avg, chunkSizeMax: max } = settings
    const capacity = dedupCapacity(options.dedupMemory)
    const slabs = createSlabPool()
    pool = createWorkerPool(options.concurrency)

    const index = indexer({ header, capacity })
    const summary = new Promise<SnapshotTotals>((resolve) => index.once('summary', resolve))
    if (options.onProgress !== undefined) index.on('progress', options.onProgress)
    await pipeline(
      readAll(streams) as unknown as NodeJS.ReadableStream, // pipeline() takes iterables, its types only up to five stages
      chunker({ chunker: name, min, avg, max, slabs }),
      dedupFilter({ capacity, pool }),
      dictionarySampler(),
      compressor({ codec, level, pool, slabs }),
      index,
      encryptor(),
      sink(target),
      options.signal === undefined ? {} : { signal: options.signal }
    )
    return await summary
  } finally {
    await pool?.close()
    await target.discard()
    for (const { source } of streams) await source.close().catch(() => undefined) // closed already where it was read
  }
}

/**
 * The streams' bytes, one stream after another, each announced by its number. Read into the same memory
 * again and again: the chunker copies a piece before it asks for the next.
 */
async function* readAll(streams: readonly StreamSource[]): AsyncGenerator<Uint8Array | StreamStart> {
  for (const [stream, { source, ...options }] of streams.entries()) {
    yield { kind: 'stream', stream }
    yield* readSource(source, { ...options, reuse: true })
  }
}
