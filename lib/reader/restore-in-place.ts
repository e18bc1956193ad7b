import { isZero } from '../chunking/zero.js'
import { HexzError, isHexzError } from '../errors.js'
import { blake3 } from '../format/digest.js'
import { memoryLimits } from '../limits.js'
import { readBuffer } from '../memory.js'
import { checkCapacity } from '../target/device.js'
import type { InPlaceTarget } from '../target/in-place.js'
import type { Snapshot } from './open-snapshot.js'

export interface RestoreOptions {
  readonly stream: string
  /** Of the stream: what the target's first byte and its end will be. */
  readonly start: number
  readonly end: number
  readonly signal?: AbortSignal | undefined
  /** Called before the first byte is written. */
  readonly onChange?: () => void
  /** Called with the bytes of the range that are done. */
  readonly onProgress?: ((doneSize: number) => void) | undefined
}

export interface RestoreResult {
  /** Bytes that were not the same and were written. */
  readonly writtenSize: number
}

/** What is compared and written at least: less is no less work for a disk. */
const unit = 4096
/** So much that differs is decoded at a time, a chunk more or less. */
const regionSizeMax = 8 * memoryLimits.runSize

/**
 * Makes a target that is there the same as a range of a stream, and writes only what differs. A chunk of
 * which the target has the digest is not even read from the snapshot. A file gets the size of the range; a
 * device must be large enough, and keeps what lies behind.
 *
 * @throws TargetError TARGET_FULL for a device that is too small, before anything is written; what `Snapshot`
 * and target throw. When something was written, the message says that the target is mixed now.
 */
export async function restoreInPlace(
  snapshot: Snapshot,
  target: InPlaceTarget,
  options: RestoreOptions
): Promise<RestoreResult> {
  const { stream, start, end, signal, onChange, onProgress } = options
  const size = end - start
  if (target.isDevice) checkCapacity(target.name, target.size, size)
  const writer = createWriter(target, onChange)
  try {
    for await (const region of differing(snapshot, target, options)) {
      signal?.throwIfAborted()
      for await (const run of snapshot.runs(stream, region)) {
        signal?.throwIfAborted()
        const at = run.offset - start
        if (run.kind === 'data') await writer.write(at, run.bytes)
        else await writer.clear(at, run.size, signal)
        if (run.kind === 'data') run.release()
      }
      onProgress?.(region.end - start)
    }
    signal?.throwIfAborted()
    if (!target.isDevice && target.size !== size) await writer.setSize(size)
    await target.sync()
    return { writtenSize: writer.writtenSize() }
  } catch (error) {
    throw writer.hasChanged() ? mixed(error, target.name) : error
  }
}

interface Region {
  readonly start: number
  readonly end: number
}

/** Ranges of the stream that may differ in the target; the others are the same. */
async function* differing(
  snapshot: Snapshot,
  target: InPlaceTarget,
  { stream, start, end, onProgress }: RestoreOptions
): AsyncGenerator<Region, void> {
  const there = createWindow(target)
  let open: Region | undefined
  for await (const piece of snapshot.pieces(stream, { start, end })) {
    const region = { start: Math.max(start, piece.offset), end: Math.min(end, piece.offset + piece.size) }
    const isWhole = region.end - region.start === piece.size
    // A hole is cleared where it is not zero already, which needs nothing of the snapshot.
    const isSame =
      piece.kind === 'chunk' &&
      isWhole &&
      Buffer.compare(blake3(await there(region.start - start, piece.size)), piece.digest) === 0
    if (!isSame && open?.end === region.start && open.end - open.start < regionSizeMax) {
      open = { start: open.start, end: region.end }
      continue
    }
    if (open !== undefined) yield open
    open = isSame ? undefined : region
    if (isSame) onProgress?.(region.end - start)
  }
  if (open !== undefined) yield open
}

/** Reads a target front to back, much at a time. Gives fewer bytes than asked for behind its end. */
function createWindow(target: InPlaceTarget): (offset: number, size: number) => Promise<Uint8Array> {
  let bytes = Buffer.alloc(0)
  let bytesOffset = 0
  return async (offset, size) => {
    if (offset + size > bytesOffset + bytes.length) {
      const wanted = readBuffer(Math.max(size, memoryLimits.runSize))
      bytesOffset = offset
      bytes = wanted.subarray(0, await target.read(wanted, offset))
    }
    return bytes.subarray(offset - bytesOffset, offset - bytesOffset + size)
  }
}

interface Writer {
  /** Writes what differs. */
  write(offset: number, bytes: Uint8Array): Promise<void>
  /** Zeros, where there are none. Behind the target's end there will be. */
  clear(offset: number, size: number, signal?: AbortSignal): Promise<void>
  setSize(size: number): Promise<void>
  writtenSize(): number
  hasChanged(): boolean
}

const zeros = Buffer.alloc(memoryLimits.runSize)

function createWriter(target: InPlaceTarget, onChange: () => void = () => undefined): Writer {
  const old = readBuffer(memoryLimits.runSize)
  let writtenSize = 0
  let hasChanged = false
  const change = (): void => {
    if (!hasChanged) onChange()
    hasChanged = true
  }

  /** At most a batch. */
  const writePart = async (offset: number, bytes: Uint8Array): Promise<void> => {
    const found = old.subarray(0, await target.read(old.subarray(0, bytes.length), offset))
    if (Buffer.compare(found, bytes) === 0) return
    let from: number | undefined
    for (let at = 0; at <= bytes.length; at += unit) {
      const isSame =
        at >= bytes.length ||
        Buffer.compare(found.subarray(at, at + unit), bytes.subarray(at, at + unit)) === 0
      if (!isSame) from ??= at
      if (from === undefined || !(isSame || at + unit >= bytes.length)) continue
      const piece = bytes.subarray(from, isSame ? Math.min(at, bytes.length) : bytes.length)
      change()
      await target.writeAt(offset + from, piece)
      writtenSize += piece.length
      from = undefined
    }
  }
  const write = async (offset: number, bytes: Uint8Array): Promise<void> => {
    for (let at = 0; at < bytes.length; at += old.length)
      await writePart(offset + at, bytes.subarray(at, at + old.length))
  }
  return {
    write,
    async clear(offset, size, signal) {
      const end = Math.min(offset + size, target.size)
      for (let at = offset; at < end; at += zeros.length) {
        signal?.throwIfAborted()
        const part = zeros.subarray(0, end - at)
        const found = old.subarray(0, await target.read(old.subarray(0, part.length), at))
        if (!isZero(found)) await writePart(at, part)
      }
    },
    async setSize(size) {
      change()
      await target.setSize(size)
    },
    writtenSize: () => writtenSize,
    hasChanged: () => hasChanged
  }
}

/** What an end in the middle leaves behind. */
export function mixedTarget(name: string): string {
  return `${name} is now partly old and partly new: extract to it again`
}

/** The same error, with what it leaves behind. */
function mixed(error: unknown, name: string): unknown {
  const left = mixedTarget(name)
  if (!isHexzError(error)) {
    // An abort stays what it is, for whoever looks for it. The command line says the rest.
    return error
  }
  const told = new HexzError(error.code, `${error.summary}; ${left}`, { ...error.details, cause: error })
  Object.setPrototypeOf(told, Object.getPrototypeOf(error) as object)
  told.name = error.name
  return told
}
