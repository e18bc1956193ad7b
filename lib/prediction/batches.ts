import { predictLimits } from '../limits.js'
import type { Source } from '../source/source.js'
import { createFittingSlabs } from '../workers/slabs.js'
import { chunkSizeMax } from './ways.js'

const { batchSize, readSizeMax, regionSize } = predictLimits

/** Some bytes of the source, and what lies before them. */
export interface Batch {
  /** In shared memory: `headSize` bytes of what came before, as much as a chunk may reach back, then new ones. */
  readonly bytes: Uint8Array
  readonly headSize: number
  /** Bytes before the new ones, counted over all that was read. */
  readonly offset: number
  /** Nothing is to be joined with what comes next: here the region ends, or the source. */
  readonly isLast: boolean
  /** Number of the region. */
  readonly region: number
  readonly release: () => void
}

export interface Region {
  /** Offset in the source, and size. */
  readonly start: number
  readonly size: number
}

/**
 * What is read of a file or device: all of it, or of a larger one than may be read, regions of one size spread
 * evenly. `undefined` for a pipe, which can only be read from its start, and for files that do not know their size.
 */
export function planRegions({
  size,
  readAt
}: Pick<Source, 'size' | 'readAt'>): readonly Region[] | undefined {
  if (readAt === undefined || size === undefined || size === 0) return undefined
  if (size <= readSizeMax) return [{ start: 0, size }]
  const count = Math.floor(readSizeMax / regionSize)
  return Array.from({ length: count }, (_, i) => {
    const at = (i * (size - regionSize)) / (count - 1)
    return { start: Math.floor(at / chunkSizeMax) * chunkSizeMax, size: regionSize }
  })
}

/**
 * The source in batches: some regions of it, or its bytes from the start. Regions are read into the batches
 * themselves; what cannot be read any more, because a file became shorter, is zeros.
 *
 * @param onBytes gets every byte as it is read
 */
export async function* readBatches(
  source: Source,
  regions: readonly Region[] | undefined,
  onBytes: (bytes: Uint8Array) => void
): AsyncGenerator<Batch, void> {
  const slabs = createFittingSlabs(slabsKept * slabSize)
  let slab = slabs.acquire(slabSize)
  let headSize = 0
  let filled = 0
  let offset = 0

  /** What was filled, as a batch; its end becomes the head of the next one. */
  const take = (isLast: boolean, region: number): Batch => {
    const { release } = slab
    const bytes = slab.bytes.subarray(0, headSize + filled)
    const batch: Batch = { bytes, headSize, offset, isLast, region, release }
    const next = slabs.acquire(slabSize)
    const head = isLast ? bytes.subarray(0, 0) : bytes.subarray(Math.max(0, bytes.length - chunkSizeMax))
    next.bytes.set(head)
    slab = next
    headSize = head.length
    offset += filled
    filled = 0
    return batch
  }

  if (regions === undefined) {
    for await (const piece of limited(source.read({ reuse: true }))) {
      onBytes(piece)
      for (let start = 0; start < piece.length;) {
        if (filled === batchSize) yield take(false, 0)
        const part = piece.subarray(start, start + batchSize - filled)
        slab.bytes.set(part, headSize + filled)
        filled += part.length
        start += part.length
      }
    }
    if (filled > 0) yield take(true, 0)
    return
  }
  for (const [region, { start, size }] of regions.entries())
    for (let done = 0; done < size; done += batchSize) {
      const end = Math.min(done + batchSize, size)
      const into = slab.bytes.subarray(headSize, headSize + end - done).fill(0)
      await source.readAt?.(start + done, into)
      onBytes(into)
      filled = into.length
      yield take(end === size, region)
    }
}

const slabSize = chunkSizeMax + batchSize
const slabsKept = 8

/** No more than may be read. */
async function* limited(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let left: number = readSizeMax
  for await (const piece of pieces) {
    yield piece.subarray(0, left)
    left -= piece.length
    if (left <= 0) return
  }
}
