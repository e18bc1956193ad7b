import type { Writable } from 'node:stream'
import { loadRiskyBinding } from './compression/bindings.js'
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
  const { snapshot: from, target } = options
  // A stream may break while the snapshot is opened, so it is watched from here on.
  const watched = typeof target === 'string' ? target : writableTarget(target)
  try {
    const snapshot = await openSnapshot(from, toOpenOptions(options))
    try {
      return await extractTo(watched, snapshot, options)
    } finally {
      await snapshot.close()
    }
  } finally {
    // Done already, but for when it never came so far.
    if (typeof watched !== 'string') await watched.discard()
  }
}

/** What is given, because an option that is `undefined` is none. */
function toOpenOptions({
  passphrase,
  identity,
  allowPlain,
  cacheSize,
  concurrency = defaultWorkerCount()
}: ExtractOptions): OpenOptions {
  return {
    concurrency,
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(identity === undefined ? {} : { identity }),
    ...(allowPlain === undefined ? {} : { allowPlain }),
    ...(cacheSize === undefined ? {} : { cacheSize })
  }
}

async function extractTo(
  target: string | Target,
  snapshot: Snapshot,
  { snapshot: from, stream: wanted, ...options }: ExtractOptions
): Promise<ExtractResult> {
  const { name: stream, size } = chooseStream(snapshot, wanted)
  const { start = 0, end = size, signal, onProgress, force = false, forceInUse = false } = options
  const sources = typeof from === 'string' && !isHttpUrl(from) ? [from] : []
  const copying = { stream, start, end, signal, onProgress }
  const result = { stream, start, size: end - start }
  if (typeof target !== 'string') {
    await writeRange(snapshot, target, copying)
    return result
  }
  if (options.inPlace !== true) {
    loadRiskyBinding()
    await writeRange(snapshot, await openTarget(target, { force, forceInUse, sources }), copying)
    return result
  }
  const place = await openInPlaceTarget(target, { sources, forceInUse })
  try {
    return { ...result, ...(await restoreInPlace(snapshot, place, copying)) }
  } finally {
    await place.close()
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
