import type { Duplex } from 'node:stream'
import { createFastCdc } from '../lib/chunking/fastcdc.js'
import { createFixed } from '../lib/chunking/fixed.js'
import { LimitError } from '../lib/errors.js'
import type { ChunkerName } from '../lib/format/header.js'
import { formatLimits, memoryLimits } from '../lib/limits.js'
import { checkChunkSizes, chunkSizeBounds } from '../lib/profiles.js'
import type { ChunkBatch, StreamStart } from '../lib/records.js'
import { createSlabPool, type BatchSlabs, type Slab } from '../lib/workers/slabs.js'
import { stage } from './stage.js'

export interface ChunkerOptions {
  /** `fixed`: chunks of `avg` bytes. `fastcdc`: boundaries from content. Default `fixed`. */
  readonly chunker?: ChunkerName
  /** Bytes, 512 ≤ min ≤ avg ≤ max ≤ 4 MiB. Default avg 64 KiB, min a quarter, max twice of it. */
  readonly min?: number
  readonly avg?: number
  readonly max?: number
  /** Number of the stream that the bytes belong to until a StreamStart says otherwise. Default 0. */
  readonly stream?: number
  readonly slabs?: BatchSlabs
}

/**
 * Bytes → ChunkBatch. Takes any Uint8Arrays, however cut, strings (as UTF-8), and StreamStart records; gives
 * the chunks of about 1 MiB at a time, in order. The chunks depend on the bytes alone, not on how they arrive.
 * Bytes of a whole slab become a batch as they are where chunks of a fixed size fill it; all others are copied.
 *
 * Holds one batch: 1 MiB, or twice the largest chunk where that is more.
 */
export function chunker(options: ChunkerOptions = {}): Duplex {
  const { chunker: name = 'fixed', avg = 64 * 1024, slabs = createSlabPool() } = options
  const bounds = chunkSizeBounds(avg)
  const { min = bounds.min, max = bounds.max } = options
  checkChunkSizes(name === 'fixed' ? { min: avg, avg, max: avg } : { min, avg, max })
  const findBoundary = name === 'fixed' ? createFixed(avg) : createFastCdc({ min, avg, max })
  const capacity =
    name === 'fixed'
      ? Math.max(1, Math.floor(memoryLimits.batchSize / avg)) * avg
      : Math.max(memoryLimits.batchSize, 2 * max)

  let stream = options.stream ?? 0
  let streamOffset = 0
  let slab: Slab | undefined
  let filled = 0

  /** The chunks that are certain, as a batch; the unfinished one moves to the next slab. */
  function* cut(isLast: boolean): Generator<ChunkBatch> {
    if (slab === undefined || filled === 0) return
    const { bytes, release } = slab
    const sizes: number[] = []
    let start = 0
    for (
      let end = findBoundary(bytes, 0, filled, isLast);
      end !== -1;
      end = findBoundary(bytes, start, filled, isLast)
    ) {
      sizes.push(end - start)
      start = end
    }
    const rest = filled - start
    slab = undefined
    filled = 0
    if (rest > 0) append(bytes.subarray(start, start + rest))
    const batchOffset = streamOffset
    streamOffset += start
    yield {
      kind: 'chunks',
      stream,
      streamOffset: batchOffset,
      bytes: bytes.subarray(0, start),
      sizes: Uint32Array.from(sizes),
      release
    }
  }

  /** Copies as much as fits and says how much that was. */
  function append(bytes: Uint8Array): number {
    slab ??= slabs.acquire(capacity)
    const piece = bytes.subarray(0, capacity - filled)
    slab.bytes.set(piece, filled)
    filled += piece.length
    return piece.length
  }

  function* take(record: Uint8Array | string | StreamStart): Generator<ChunkBatch> {
    const bytes = typeof record === 'string' ? Buffer.from(record) : record
    if (!(bytes instanceof Uint8Array)) {
      yield* cut(true)
      stream = bytes.stream
      streamOffset = 0
      return
    }
    const whole = slabs.slabOf(bytes)
    if (whole !== undefined && name === 'fixed' && filled === 0 && bytes.length === capacity) {
      slab = whole
      filled = capacity
      yield* cut(false)
    } else {
      for (let offset = 0; offset < bytes.length;) {
        offset += append(bytes.subarray(offset))
        if (filled === capacity) yield* cut(false)
      }
      whole?.release()
    }
    if (streamOffset + filled > formatLimits.streamSizeMax)
      throw new LimitError('the source is larger than 2^53 bytes')
  }

  return stage({ take, end: () => cut(true) })
}
