import type { Writable } from 'node:stream'
import { buildStreams, type PipelineOptions, type StreamSource } from './build.js'
import type { SnapshotTotals } from './format/index-writer.js'
import { iterableSource, openSource, type Source } from './source/source.js'
import { openTarget } from './target/target.js'
import { writableTarget } from './target/writable-target.js'

/** A path, or any stream or iterable of bytes. */
export type SourceLike = string | AsyncIterable<Uint8Array | string>

export interface BuildOptions extends PipelineOptions {
  /** What stream `disk` is made of. */
  readonly source: SourceLike
  /** What stream `memory` is made of. */
  readonly memory?: SourceLike
  /** A path, written beside itself and renamed when whole; or a stream, which is ended. */
  readonly target: string | Writable
  /** Replace an existing target. Default false. */
  readonly force?: boolean
  /** Bytes that the source must have. */
  readonly expectSize?: number
}

/**
 * Builds a snapshot.
 *
 * @returns sizes and counts of what was written, and the snapshot digest
 * @throws UsageError, SourceError, TargetError, LimitError; the AbortError of `signal`. Whatever fails, no
 * finished-looking target is left, and an existing one is as it was.
 */
export async function build(options: BuildOptions): Promise<SnapshotTotals> {
  const { source, memory, target, force = false, expectSize, ...settings } = options
  const streams: StreamSource[] = []
  try {
    const expected = expectSize === undefined ? {} : { expectSize }
    streams.push({ name: 'disk', source: await toSource(source), ...expected })
    if (memory !== undefined) streams.push({ name: 'memory', source: await toSource(memory) })
    const sources = [source, memory].filter((from) => typeof from === 'string')
    const to =
      typeof target === 'string' ? await openTarget(target, { force, sources }) : writableTarget(target)
    return await buildStreams(streams, to, settings)
  } catch (error) {
    // buildStreams() has done so already, unless it was not come to.
    for (const stream of streams) await stream.source.close().catch(() => undefined)
    if (typeof target !== 'string') target.destroy()
    throw error
  }
}

function toSource(from: SourceLike): Source | Promise<Source> {
  return typeof from === 'string' ? openSource(from) : iterableSource(from, 'the source stream')
}
