import { serveLimits } from '../limits.js'
import type { Extent, Snapshot } from '../reader/open-snapshot.js'

/** Data and holes from `offset` on, as many as one reply may have: not always up to the end of the range. */
export async function listExtents(
  snapshot: Snapshot,
  stream: string,
  offset: number,
  length: number,
  countMax: number
): Promise<Extent[]> {
  const end = offset + Math.min(length, serveLimits.extentChunkCountMax * snapshot.header.chunkSizeAvg)
  const found: Extent[] = []
  for await (const extent of snapshot.extents(stream, { start: offset, end })) {
    found.push(extent)
    if (found.length >= countMax) break
  }
  return found
}
