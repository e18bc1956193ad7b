import { Readable } from 'node:stream'
import { wipe, type Sealing } from '../crypto/sealing.js'
import type { Credentials } from '../crypto/unlock.js'
import { UsageError } from '../errors.js'
import type { Header } from '../format/header.js'
import { entriesOf, type IndexPage } from '../format/index-page.js'
import type { IndexRoot, StreamSummary } from '../format/index-root.js'
import { memoryLimits } from '../limits.js'
import { checkOpen, checkStreamRange } from '../option-tables.js'
import type { WriteTarget } from '../workers/decode-tasks.js'
import { createWorkerPool, inlinePool, type WorkerPool } from '../workers/pool.js'
import { createSlabPool, ownMemory, sharedMemory } from '../workers/slabs.js'
import { openFileBytes, type ByteSource } from './byte-source.js'
import { openHttpBytes } from './http-source.js'
import { isHttpUrl } from './http-url.js'
import { createClosing } from './closing.js'
import { createGroupLoader } from './group-loader.js'
import { createChunkStore } from './chunk-store.js'
import { indexedPieces, type IndexedPiece } from './entries.js'
import { onceRead, readDictionary } from './dictionary.js'
import { createPageStore } from './page-store.js'
import { createRandomRead } from './random-read.js'
import { readRuns, writeRuns, type HoleRun, type ReadContext, type Run, type WrittenRun } from './runs.js'
import { readPageColumns, readStructure } from './structure.js'

/** An encrypted snapshot needs a passphrase or an identity. */
export interface OpenOptions extends Credentials {
  /** Worker threads that decode; 0 (default) decodes on this thread, which is right for small reads. */
  readonly concurrency?: number
  /** Bytes of decoded chunks that are kept for `read`. Default 64 MiB; 0 keeps none. */
  readonly cacheSize?: number
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
  /** Of a snapshot behind a URL: bytes and requests so far. */
  readonly fetched: ByteSource['fetched']
  /** One BLAKE3 digest that stands for all of it. */
  readonly digest: Uint8Array
  /**
   * `length` bytes from `offset`, fewer where the stream ends. Any number may be in work at once.
   *
   * @param into memory of at least that many bytes; when given, the bytes are put there, and the answer is
   * a view of it. It is left alone once the promise is settled
   * @throws UsageError for an unknown stream or a range that is none; CorruptError
   */
  read(stream: string, offset: number, length: number, into?: Uint8Array): Promise<Buffer>
  /** Whether a range is part of one hole: at once when the index page is at hand. */
  isHole(stream: string, offset: number, length: number): boolean | Promise<boolean>
  /** The bytes of a stream, or of a part of it. */
  createReadStream(stream: string, range?: RangeOptions): Readable
  /** Where data and holes lie, merged, from the index alone. */
  extents(stream: string, range?: RangeOptions): AsyncGenerator<Extent, void>
  /** The chunks with their digests, and the holes, that touch the range: from the index alone. */
  pieces(stream: string, range?: RangeOptions): AsyncGenerator<IndexedPiece, void>
  /** Pieces of about 1 MiB, holes as lengths, memory reused on `release`: for tools that copy. */
  runs(stream: string, range?: RangeOptions): AsyncGenerator<Run, void>
  /**
   * Writes the data of a stream, or of a part of it, to a file or block device that is open, each byte at its
   * offset less `start`. Holes are left alone; the caller knows whether zeros are there. Pieces come in order
   * when they are written; when the iteration ends, however it does, nothing is written any more.
   */
  writeTo(
    target: WriteTarget,
    stream: string,
    range?: RangeOptions
  ): AsyncGenerator<HoleRun | WrittenRun, void>
  /** The index page of that number, for tools that check. */
  page(number: number): Promise<IndexPage>
  /**
   * Ends what is being read, and waits for it. All other methods, and iterations that had started, fail with a UsageError
   * from then on.
   */
  close(): Promise<void>
}

/**
 * Opens a snapshot: reads header, footer and index root.
 *
 * A passphrase given as a text is taken in Unicode NFC, in UTF-8 and without a line end behind it, as the
 * command line does. Bytes are used exactly as they are: what makes them of a text has to do the same.
 *
 * @param from a path, a URL of http or https, or bytes that can be read at any offset; closed by `close()`
 * @throws SourceError, CorruptError, KeyError, LimitError, UnsupportedError, UsageError
 */
export async function openSnapshot(from: string | ByteSource, options: OpenOptions = {}): Promise<Snapshot> {
  checkOpen(from, options)
  const { concurrency = 0, cacheSize = memoryLimits.chunkCacheDefault } = options
  const source = typeof from === 'string' ? await openBytes(from) : from
  let sealing: Sealing | undefined
  try {
    if (!Number.isSafeInteger(cacheSize) || cacheSize < 0)
      throw new UsageError(`cacheSize ${cacheSize} is not a number of bytes`)
    const structure = await readStructure(source, options)
    const { header, root, footer } = structure
    sealing = structure.sealing
    const pool: WorkerPool = concurrency === 0 ? inlinePool : createWorkerPool(concurrency)
    const pages = createPageStore(
      (number) => readPageColumns(source, structure, number),
      memoryLimits.pageCacheSize
    )
    const dictionary = onceRead(() => readDictionary({ source, root, sealing }))
    const chunks = createChunkStore(
      createGroupLoader({ source, sealing, dictionary, pool }),
      cacheSize,
      pool === inlinePool ? ownMemory : sharedMemory
    )
    const randomRead = createRandomRead({ root, pages, chunks, cacheSize })
    const context: ReadContext = {
      source,
      root,
      sealing,
      dictionary,
      pages,
      pool,
      slabs: createSlabPool(memoryLimits.runSize)
    }
    const closing = createClosing(source.name)

    const range = (stream: string, options: RangeOptions = {}): [number, number, number] => {
      checkStreamRange(stream, options)
      const { start = 0, end } = options
      closing.check()
      const number = header.streams.indexOf(stream)
      const summary = root.streams[number]
      if (summary === undefined)
        throw new UsageError(`${source.name} has no stream "${stream}"; it has ${header.streams.join(', ')}`)
      const to = end ?? summary.size
      const why = whyNoRange(stream, start, to, summary.size)
      if (why !== undefined) throw new UsageError(why)
      return [number, start, to]
    }
    const runs = (stream: string, options?: RangeOptions): AsyncGenerator<Run, void> => {
      const [number, start, end] = range(stream, options)
      return closing.guard(readRuns(context, number, { start, end }))
    }

    return {
      name: source.name,
      header,
      streams: root.streams,
      root,
      fileSize: source.size,
      fetched: source.fetched,
      digest: footer.snapshotDigest,
      async read(stream, offset, length, into) {
        closing.check()
        if (!isOffset(length) && length !== Infinity)
          throw new UsageError(`${length} is not a number of bytes`)
        const [number, start, size] = range(stream, { start: offset })
        const end = Math.min(size, start + length)
        const target = into === undefined ? Buffer.allocUnsafeSlow(end - start) : viewOf(into, end - start)
        await randomRead.read(target, number, start, end)
        return target
      },
      isHole(stream, offset, length) {
        if (!isOffset(length)) throw new UsageError(`${length} is not a number of bytes`)
        const [number, start, end] = range(stream, { start: offset, end: offset + length })
        return randomRead.isHole(number, start, end)
      },
      createReadStream: (stream, options) =>
        Readable.from(bytesOf(runs(stream, options)), {
          objectMode: false,
          highWaterMark: memoryLimits.runSize
        }),
      extents: (stream, options) => closing.guard(extentsOf(context, ...range(stream, options))),
      pieces: (stream, options) => closing.guard(indexedPieces(context, ...range(stream, options))),
      runs,
      writeTo({ fd, name }, stream, options) {
        const [number, start, end] = range(stream, options)
        // And nothing else of the target crosses to threads.
        return closing.guard(writeRuns(context, number, { start, end }, { fd, name }))
      },
      async page(number) {
        closing.check()
        return entriesOf(await pages.get(number))
      },
      async close() {
        await closing.close()
        await randomRead.settle()
        chunks.clear()
        await pages.settle()
        await pool.close()
        await source.close()
        wipe(structure.sealing?.dataKey)
      }
    }
  } catch (error) {
    wipe(sealing?.dataKey)
    await source.close()
    throw error
  }
}

/** A file, or what lies behind a URL. */
function openBytes(name: string): Promise<ByteSource> {
  return isHttpUrl(name) ? openHttpBytes(name) : openFileBytes(name)
}

const isOffset = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

/** What is wrong with a range of a stream; `undefined` when nothing is. */
function whyNoRange(stream: string, start: number, end: number, size: number): string | undefined {
  const where = `the end of stream ${stream}, which has ${size} bytes`
  if (!isOffset(start)) return `${start} is not an offset in stream ${stream}`
  if (start > size) return `offset ${start} lies after ${where}`
  if (!isOffset(end)) return `${end} is not an end of a range of stream ${stream}`
  if (end < start) return `a range of stream ${stream} can't end at ${end}, before its start at ${start}`
  return end > size ? `a range can't end at ${end}, after ${where}` : undefined
}

/** The first bytes of memory that a caller gave. */
function viewOf(into: Uint8Array, size: number): Buffer {
  if (into.length < size) throw new UsageError(`${size} bytes do not fit into the ${into.length} given`)
  return Buffer.from(into.buffer, into.byteOffset, size)
}

/** Runs as plain bytes that the consumer may keep and change. */
export async function* bytesOf(runs: AsyncIterable<Run>): AsyncGenerator<Buffer, void> {
  for await (const run of runs) {
    if (run.kind === 'data') {
      yield Buffer.from(run.bytes)
      run.release()
      continue
    }
    for (let left = run.size; left > 0; left -= memoryLimits.runSize)
      yield Buffer.alloc(Math.min(left, memoryLimits.runSize))
  }
}

async function* extentsOf(
  context: ReadContext,
  stream: number,
  start: number,
  end: number
): AsyncGenerator<Extent, void> {
  let open: Extent | undefined
  for await (const piece of indexedPieces(context, stream, start, end)) {
    const from = Math.max(start, piece.offset)
    const size = Math.min(end, piece.offset + piece.size) - from
    if (size <= 0) continue
    const kind = piece.kind === 'hole' ? 'hole' : 'data'
    if (open?.kind === kind) {
      open = { ...open, size: open.size + size }
      continue
    }
    if (open !== undefined) yield open
    open = { kind, offset: from, size }
  }
  if (open !== undefined) yield open
}
