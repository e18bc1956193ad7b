import { Readable, Writable } from 'node:stream'
import { makeHeader, resolveSettings } from '../../lib/profiles.js'
import type { SnapshotRecord } from '../../lib/records.js'
import {
  chunker,
  compressor,
  dedupCapacity,
  dedupFilter,
  dictionarySampler,
  encryptor,
  indexer
} from '../../transforms/index.js'
import { fileOf } from './snapshots.js'
import { runStage } from './streams.js'
import { buildStreams, type PipelineOptions } from '../../lib/build.js'
import type { SnapshotTotals } from '../../lib/format/index-writer.js'
import { iterableSource } from '../../lib/source/iterable-source.js'
import { writableTarget } from '../../lib/target/writable-target.js'

export interface Built {
  readonly file: Buffer
  readonly totals: SnapshotTotals
}

/** A stream that keeps what it gets. */
export function collector(): { stream: Writable; bytes: () => Buffer } {
  const pieces: Buffer[] = []
  const stream = new Writable({
    write(piece: Buffer, _encoding, done) {
      pieces.push(piece)
      done()
    }
  })
  return { stream, bytes: () => Buffer.concat(pieces) }
}

/** A snapshot in memory; streams are named `disk`, `memory`, `third`. One thread unless told. */
export async function buildInMemory(
  streams: readonly Iterable<Uint8Array>[],
  options: PipelineOptions = {}
): Promise<Built> {
  const { stream, bytes } = collector()
  const totals = await buildStreams(
    streams.map((pieces, i) => ({
      name: ['disk', 'memory', 'third'][i] ?? `s${i}`,
      source: iterableSource(Readable.from(pieces), 'the test source')
    })),
    writableTarget(stream),
    { concurrency: 1, ...options }
  )
  return { file: bytes(), totals }
}

/**
 * The same out of the stages themselves, all on this thread: what anyone may compose, and quick, because
 * starting a thread takes longer than a small build.
 */
export async function buildOfStages(
  streams: readonly Iterable<Uint8Array>[],
  options: PipelineOptions = {}
): Promise<Buffer> {
  const settings = resolveSettings(options)
  const header = makeHeader(
    settings,
    streams.map((_, i) => ['disk', 'memory', 'third'][i] ?? `s${i}`)
  )
  const capacity = dedupCapacity(options.dedupMemory)
  const { chunker: name, chunkSizeMin: min, chunkSizeAvg: avg, chunkSizeMax: max, codec, level } = settings
  function* inputs(): Generator {
    for (const [stream, pieces] of streams.entries()) {
      yield { kind: 'stream', stream }
      yield* pieces
    }
  }
  return fileOf(
    await runStage<SnapshotRecord>(
      inputs(),
      chunker({ chunker: name, min, avg, max }),
      dedupFilter({ capacity }),
      dictionarySampler(),
      compressor({ codec, level }),
      indexer({ header, capacity }),
      encryptor()
    )
  )
}
