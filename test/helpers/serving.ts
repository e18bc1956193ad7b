import { join } from 'node:path'
import type { Test } from 'tap'
import type { PipelineOptions } from '../../lib/build.js'
import { openSnapshot, type OpenOptions, type Snapshot } from '../../lib/index.js'
import { serve } from '../../lib/serve/serve.js'
import { buildInMemory } from './build.js'
import { scratch } from './run-cli.js'
import { memorySource, type MemorySource } from './snapshots.js'

/** A served snapshot in this process. */
export interface Served {
  /** Path of the NBD server's socket. */
  readonly path: string
  /** Address of the HTTP server, without the last slash. */
  readonly url: string
  readonly snapshot: Snapshot
  readonly source: MemorySource
  /** Messages of reads that failed. */
  readonly problems: string[]
  readonly close: () => Promise<void>
}

/** Builds a snapshot of these streams and serves it both ways until the test ends. */
export async function serveBytes(
  t: Test,
  streams: readonly Uint8Array[],
  options: PipelineOptions = {},
  { spoil, ...open }: OpenOptions & { spoil?: (file: Buffer) => void } = {}
): Promise<Served> {
  const { file } = await buildInMemory(
    streams.map((bytes) => [bytes]),
    options
  )
  spoil?.(file)
  const source = memorySource(file, 'x.st')
  const snapshot = await openSnapshot(source, open)
  const path = join(scratch(t), 's')
  const problems: string[] = []
  const serving = await serve(snapshot, {
    nbd: { kind: 'unix', path },
    http: { kind: 'tcp', host: '127.0.0.1', port: 0 },
    onProblem: (error) => problems.push((error as Error).message)
  })
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => (closing ??= serving.close().then(() => snapshot.close()))
  t.teardown(close)
  return { path, url: serving.uris[1]?.replace(/\/$/, '') ?? '', snapshot, source, problems, close }
}
