import type { KeyObject } from 'node:crypto'
import { Readable } from 'node:stream'
import { wipe } from '../crypto/sealing.js'
import { toCredentials } from '../crypto/slots.js'
import { UsageError } from '../errors.js'
import type { Header } from '../format/header.js'
import type { IndexPage } from '../format/index-page.js'
import type { IndexRoot, StreamSummary } from '../format/index-root.js'
import { memoryLimits } from '../limits.js'
import { createWorkerPool, inlinePool, type WorkerPool } from '../workers/pool.js'
import type { SharedDictionary } from '../workers/prepared.js'
import { createSlabPool } from '../workers/slabs.js'
import { openFileBytes, type ByteSource } from './byte-source.js'
import { readDictionary } from './dictionary.js'
import { createPageCache } from './page-cache.js'
import { findPage, readRuns, type ReadContext, type Run } from './runs.js'
import { readPage, readStructure } from './structure.js'

export interface OpenOptions {
  /** Worker threads that decode; 0 (default) decodes on this thread, which is right for small reads. */
  readonly concurrency?: number
  /** Of an encrypted snapshot: one of these. */
  readonly passphrase?: string | Uint8Array
  /** Private RSA key. */
  readonly identity?: KeyObject
}

export interface RangeOptions {
  /** First byte; default 0. */
  readonly start?: number
  /** Behind the last byte; default the stream's end. */
  readonly end?: number
}

/** A piece of a stream: data, or a run of zeros that takes no space. Bytes. */
export interface Extent {
  readonly kind: 'data' | 'hole'
  readonly offset: number
  readonly size: number
}

/** An open snapshot. Every byte it gives was checked against its digest. */
export interface Snapshot {
  readonly name: string
  readonly header: Header
  readonly streams: readonly StreamSummary[]
  readonly root: IndexRoot
  readonly fileSize: number
  /** One BLAKE3 digest that stands for all of it. */
  readonly digest: Uint8Array
  /**
   * `length` bytes from `offset`, fewer where the stream ends.
   *
   * @throws UsageError for an unknown stream or a range that is none; CorruptError
   */
  read(stream: string, offset: number, length: number): Promise<Buffer>
  /** The bytes of a stream, or of a part of it. */
  createReadStream(stream: string, range?: RangeOptions): Readable
  /** Where data and holes lie, merged, from the index alone. */
  extents(stream: string, range?: RangeOptions): AsyncGenerator<Extent, void>
  /** Pieces of about 1 MiB, holes as lengths, memory reused on `release`: for tools that copy. */
  runs(stream: string, range?: RangeOptions): AsyncGenerator<Run, void>
  /** The index page of that number, for tools that check. */
  page(number: number): Promise<IndexPage>
  close(): Promise<void>
}

/**
 * Opens a snapshot: reads header, footer and index root.
 *
 * @param from a path, or bytes that can be read at any offset; closed by `close()`
 * @throws SourceError, CorruptError, UnsupportedError
 */
export async function openSnapshot(from: string | ByteSource, options: OpenOptions = {}): Promise<Snapshot> {
  const { concurrency = 0 } = options
  const source = typeof from === 'string' ? await openFileBytes(from) : from
  try {
    const structure = await readStructure(source, toCredentials(options))
    const { header, root, footer, sealing } = structure
    const pool: WorkerPool = concurrency === 0 ? inlinePool : createWorkerPool(concurrency)
    const loadPage = createPageCache(
      (number) => readPage(source, structure, number),
      memoryLimits.pageCacheCount
    )
    let read: Promise<SharedDictionary | undefined> | undefined
    const dictionary = (): Promise<SharedDictionary | undefined> =>
      (read ??= readDictionary({ source, root, sealing }).catch((error: unknown) => {
        read = undefined // a source that failed for a moment may be asked again
        throw error
      }))
    const context: ReadContext = {
      source,
      root,
      sealing,
      dictionary,
      loadPage,
      pool,
      slabs: createSlabPool()
    }

    const range = (stream: string, { start = 0, end }: RangeOptions = {}): [number, number, number] => {
      const number = header.streams.indexOf(stream)
      const summary = root.streams[number]
      if (summary === undefined)
        throw new UsageError(`${source.name} has no stream "${stream}"; it has ${header.streams.join(', ')}`)
      const to = end ?? summary.size
      if (
        !Number.isSafeInteger(start) ||
        !Number.isSafeInteger(to) ||
        start < 0 ||
        start > to ||
        to > summary.size
      ) {
        throw new UsageError(
          `bytes ${start} to ${to} are not a range of stream ${stream}, which has ${summary.size} bytes`
        )
      }
      return [number, start, to]
    }
    const runs = (stream: string, options?: RangeOptions): AsyncGenerator<Run, void> =>
      readRuns(context, ...range(stream, options))

    return {
      name: source.name,
      header,
      streams: root.streams,
      root,
      fileSize: source.size,
      digest: footer.snapshotDigest,
      async read(stream, offset, length) {
        const size = root.streams[header.streams.indexOf(stream)]?.size ?? 0
        const end = Math.min(size, offset + length)
        const found = runs(stream, { start: offset, end })
        const result = Buffer.alloc(end - offset)
        for await (const run of found) {
          if (run.kind === 'hole') continue
          result.set(run.bytes, run.offset - offset)
          run.release()
        }
        return result
      },
      createReadStream: (stream, options) =>
        Readable.from(bytesOf(runs(stream, options)), {
          objectMode: false,
          highWaterMark: memoryLimits.batchSize
        }),
      extents: (stream, options) => extentsOf(context, ...range(stream, options)),
      runs,
      page: loadPage,
      async close() {
        await pool.close()
        await source.close()
        wipe(sealing?.dataKey)
      }
    }
  } catch (error) {
    await source.close()
    throw error
  }
}

/** Runs as plain bytes that the consumer may keep and change. */
export async function* bytesOf(runs: AsyncIterable<Run>): AsyncGenerator<Buffer, void> {
  for await (const run of runs) {
    if (run.kind === 'data') {
      yield Buffer.from(run.bytes)
      run.release()
      continue
    }
    for (let left = run.size; left > 0; left -= memoryLimits.batchSize)
      yield Buffer.alloc(Math.min(left, memoryLimits.batchSize))
  }
}

async function* extentsOf(
  context: ReadContext,
  stream: number,
  start: number,
  end: number
): AsyncGenerator<Extent, void> {
  let open: Extent | undefined
  const { pages } = context.root
  for (let number = findPage(context.root, stream, start); number < pages.length; number++) {
    const ref = pages[number]
    if (ref?.stream !== stream || ref.streamOffset >= end) break
    const page = await context.loadPage(number)
    let offset = page.streamOffset
    for (const entry of page.entries) {
      const from = Math.max(start, offset)
      offset += entry.rawSize
      const size = Math.min(end, offset) - from
      if (size <= 0) continue
      const kind = entry.kind === 'hole' ? 'hole' : 'data'
      if (open?.kind === kind) {
        open = { ...open, size: open.size + size }
        continue
      }
      if (open !== undefined) yield open
      open = { kind, offset: from, size }
    }
  }
  if (open !== undefined) yield open
}
