import type { Writable } from 'node:stream'
import { UsageError } from './errors.js'
import { checkExtract } from './option-tables.js'
import type { ByteSource } from './reader/byte-source.js'
import { isHttpUrl } from './reader/http-url.js'
import { openSnapshot, type OpenOptions, type RangeOptions, type Snapshot } from './reader/open-snapshot.js'
import { restoreInPlace } from './reader/restore-in-place.js'
import { checkCapacity } from './target/device.js'
import { openInPlaceTarget } from './target/in-place.js'
import { openTarget, type FileTarget, type Target } from './target/target.js'
import { writableTarget } from './target/writable-target.js'
import { defaultWorkerCount } from './workers/pool.js'

export interface ExtractOptions extends OpenOptions, RangeOptions {
  /** A path, a URL of http or https, or bytes that can be read at any offset, which are closed. */
  readonly snapshot: string | ByteSource
  /** A path: a new file, written beside itself and renamed when whole, or a device. Or a stream, which is ended. */
  readonly target: string | Writable
  /** By name; default the first. */
  readonly stream?: string
  /** Replace an existing target, or write to a device. Default false. */
  readonly force?: boolean
  /** Write to a device although it is mounted or otherwise in use. Default false. */
  readonly forceInUse?: boolean
  /** Change a file or device that is there, and write only what differs. Default false. */
  readonly inPlace?: boolean
  readonly signal?: AbortSignal
  /** Called with the bytes of the range that are done. */
  readonly onProgress?: (doneSize: number) => void
}

export interface ExtractResult {
  readonly stream: string
  /** Where in the stream the range starts, and its bytes. */
  readonly start: number
  readonly size: number
  /** In place: bytes that differed and were written. */
  readonly writtenSize?: number
}

/**
 * Gets the bytes of a stream back, whole or a range, each checked before it is written. Holes stay holes where the target
 * can have them.
 *
 * @throws UsageError, SourceError, TargetError, CorruptError, KeyError, LimitError, UnsupportedError; the reason of
 * `signal`. Whatever fails, no finished-looking target is left, and an existing one is as it was; but in place, where the
 * message says so if the target is partly old and partly new.
 */
export async function extract(options: ExtractOptions): Promise<ExtractResult> {
  checkExtract(options)
  const { snapshot: from, target, force = false, forceInUse = false, inPlace = false } = options
  const { passphrase, identity, allowPlain, concurrency = defaultWorkerCount(), cacheSize } = options
  const given = Object.entries({ passphrase, identity, allowPlain, cacheSize }).filter(
    ([, value]) => value !== undefined
  )
  const snapshot = await openSnapshot(from, { concurrency, ...Object.fromEntries(given) })
  try {
    const stream = chooseStream(snapshot, options.stream)
    const { start = 0, end = stream.size } = options
    const range = { start, end }
    const sources = typeof from === 'string' && !isHttpUrl(from) ? [from] : []
    const copying = { ...range, stream: stream.name, signal: options.signal, onProgress: options.onProgress }
    if (inPlace) {
      if (typeof target !== 'string') throw new UsageError('what is changed in place is named by a path')
      const place = await openInPlaceTarget(target, { sources, forceInUse })
      try {
        const { writtenSize } = await restoreInPlace(snapshot, place, copying)
        return { stream: stream.name, start, size: end - start, writtenSize }
      } finally {
        await place.close()
      }
    }
    const opened =
      typeof target === 'string'
        ? await openTarget(target, { force, forceInUse, sources })
        : writableTarget(target)
    await writeRange(snapshot, opened, copying)
    return { stream: stream.name, start, size: end - start }
  } finally {
    await snapshot.close()
  }
}

/** @throws UsageError where the snapshot has no stream of that name */
export function chooseStream(
  { streams, name }: Snapshot,
  wanted: string | undefined
): { name: string; size: number } {
  const stream = wanted === undefined ? streams[0] : streams.find((one) => one.name === wanted)
  if (stream === undefined)
    throw new UsageError(
      `${name} has no stream "${wanted ?? ''}"; it has ${streams.map((one) => one.name).join(', ')}`
    )
  return stream
}

/** What is written, and who is told. */
export interface WriteRangeOptions extends Required<RangeOptions> {
  readonly stream: string
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((doneSize: number) => void) | undefined
}

/** Writes a range of a stream to a target, and commits it, or discards it on any failure. */
export async function writeRange(
  snapshot: Snapshot,
  target: Target | FileTarget,
  options: WriteRangeOptions
): Promise<void> {
  try {
    if ('writeAt' in target && target.isSeekable) await copyToFile(snapshot, target, options)
    else await copyInOrder(snapshot, target, options)
    await target.commit()
  } finally {
    await target.discard()
  }
}

/** The threads write, wherever they are. */
async function copyToFile(
  snapshot: Snapshot,
  target: FileTarget,
  { stream, start, end, signal, onProgress }: WriteRangeOptions
): Promise<void> {
  checkCapacity(target.name, target.capacity, end - start)
  for await (const run of snapshot.writeTo(target, stream, { start, end })) {
    signal?.throwIfAborted()
    const at = run.offset - start
    if (run.kind === 'written') target.wrote(run.size)
    else if (!target.isBlank)
      await writeZeros(run.size, signal, (piece, done) => target.writeAt(at + done, piece))
    onProgress?.(at + run.size)
  }
  if (target.isBlank) await target.setSize(end - start)
}

async function copyInOrder(
  snapshot: Snapshot,
  target: Target,
  { stream, start, end, signal, onProgress }: WriteRangeOptions
): Promise<void> {
  let doneSize = 0
  for await (const run of snapshot.runs(stream, { start, end })) {
    signal?.throwIfAborted()
    if (run.kind === 'hole') {
      await writeZeros(run.size, signal, (piece) => target.write([piece]))
      doneSize += run.size
    } else {
      await target.write([run.bytes])
      doneSize += run.bytes.length
      run.release()
    }
    onProgress?.(doneSize)
  }
}

const zeros = Buffer.alloc(1024 * 1024)

async function writeZeros(
  size: number,
  signal: AbortSignal | undefined,
  write: (piece: Uint8Array, done: number) => Promise<void>
): Promise<void> {
  for (let done = 0; done < size; done += zeros.length) {
    signal?.throwIfAborted()
    await write(zeros.subarray(0, size - done), done)
  }
}
