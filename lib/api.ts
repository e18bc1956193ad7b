import type { Writable } from 'node:stream'
import { buildStreams, type PipelineOptions, type StreamSource } from './build.js'
import { loadRiskyBinding } from './compression/bindings.js'
import type { SnapshotTotals } from './format/index-writer.js'
import { checkBuild } from './option-tables.js'
import { resolveDictionary, resolveSettings } from './profiles.js'
import { refuseContainer } from './source/container.js'
import { openSource } from './source/file-source.js'
import { iterableSource } from './source/iterable-source.js'
import type { Source } from './source/source.js'
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
  /** Of pipes by path: they may give no byte at all. Default false, because a far side that failed looks the same. */
  readonly allowEmpty?: boolean
  /** `raw` stores files as they are that hold a disk in a form of their own, such as qcow2; else they are refused. */
  readonly format?: 'raw'
}

/**
 * Builds a snapshot.
 *
 * @returns sizes and counts of what was written, and the snapshot digest
 * @throws UsageError, SourceError, TargetError, LimitError; the AbortError of `signal`. Whatever fails, no
 * finished-looking target is left, and an existing one is as it was.
 */
export async function build(options: BuildOptions): Promise<SnapshotTotals> {
  checkBuild(options)
  const {
    source,
    memory,
    target,
    force = false,
    expectSize,
    allowEmpty = false,
    format,
    ...settings
  } = options
  resolveDictionary(settings, resolveSettings(settings)) // tells of a wrong one before anything is opened
  const paths = [source, memory].filter((from) => typeof from === 'string')
  const streams: StreamSource[] = []
  // A stream may break while the sources are opened, so it is watched from here on.
  const watched = typeof target === 'string' ? target : writableTarget(target)
  try {
    const expected = expectSize === undefined ? {} : { expectSize }
    streams.push({ name: 'disk', source: await toSource(source), allowEmpty, ...expected })
    if (memory !== undefined) streams.push({ name: 'memory', source: await toSource(memory), allowEmpty })
    if (format !== 'raw') for (const { source: opened } of streams) await refuseContainer(opened)
    loadRiskyBinding()
    const to =
      typeof watched === 'string'
        ? await openTarget(watched, { force, content: 'snapshot', sources: paths })
        : watched
    return await buildStreams(streams, to, settings)
  } finally {
    // The build gives back what it got; here for when it never came so far.
    if (typeof watched !== 'string') await watched.discard()
    for (const { source: opened } of streams) await opened.close().catch(() => undefined)
  }
}

/** Opens a path; takes anything else as it is. */
export function toSource(from: SourceLike): Source | Promise<Source> {
  return typeof from === 'string' ? openSource(from) : iterableSource(from, 'the source stream')
}
