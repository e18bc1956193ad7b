import { finished, pipeline } from 'node:stream/promises'
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
import { lock, type Locks } from './crypto/slots.js'
import { wipe, type Sealing } from './crypto/sealing.js'
import { sealOverhead } from './format/frame.js'
import { makeHeader, resolveSettings, type SettingsOptions } from './profiles.js'
import type { StreamStart } from './records.js'
import type { Source } from './source/source.js'
import type { Target } from './target/target.js'
import { createWorkerPool } from './workers/pool.js'
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
  /** Encrypt, and give each of these keys a slot. Bytes of a passphrase are used as they are, a text in NFC. */
  readonly locks?: Locks | undefined
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
  try {
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
  const pool = createWorkerPool(options.concurrency)
  let sealing: Sealing | undefined
  try {
    const locked = options.locks === undefined ? undefined : await lock(header, options.locks)
    sealing = locked?.sealing
    const slabs = createSlabPool()
    const index = indexer({
      header,
      capacity,
      ...(locked === undefined ? {} : { keySlots: locked.keySlots, sealOverhead })
    })
    const summary = new Promise<SnapshotTotals>((resolve) => index.once('summary', resolve))
    if (options.onProgress !== undefined) index.on('progress', options.onProgress)
    const output = sink(target)
    const done = pipeline(
      readAll(streams) as unknown as NodeJS.ReadableStream, // pipeline() takes iterables, its types only up to five stages
      chunker({ chunker: name, min, avg, max, slabs }),
      dedupFilter({ capacity, pool }),
      dictionarySampler(),
      compressor({ codec, level, pool, slabs }),
      index,
      encryptor({ sealing, pool, slabs }),
      output,
      options.signal === undefined ? {} : { signal: options.signal }
    )
    // A failed pipeline still waits for its source, which may wait for a far side that has nothing to say.
    await Promise.race([done, finished(output).then(() => done)])
    return await summary
  } finally {
    await pool.close()
    wipe(sealing?.dataKey)
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
