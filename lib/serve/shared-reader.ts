import { serveLimits } from '../limits.js'
import type { Extent, Snapshot } from '../reader/open-snapshot.js'
import { createGate } from './gate.js'

/** A snapshot as all connections of a server read it. */
export interface SharedReader {
  readonly snapshot: Snapshot
  /** Exactly `length` bytes; the range lies in the stream. */
  read(stream: string, offset: number, length: number): Promise<Uint8Array>
  /** Whether the range is nothing but zeros that take no space; in doubt it is not. */
  isHole(stream: string, offset: number, length: number): Promise<boolean>
  /** Data and holes from `offset` on, as many as one reply may have; not always up to the end. */
  extents(stream: string, offset: number, length: number, countMax: number): Promise<Extent[]>
}

/**
 * Bounds what is being read and decoded for all connections together. Work that got in is done without the
 * help of any client, so that one who does not read can hold nobody up.
 */
export function createSharedReader(snapshot: Snapshot): SharedReader {
  const { chunkSizeMax, chunkSizeAvg } = snapshot.header
  const gate = createGate(() => serveLimits.readingSize, Infinity)
  return {
    snapshot,
    async read(stream, offset, length) {
      const size = length + 2 * chunkSizeMax // its first and last chunk are decoded whole
      await gate.enter(size)
      try {
        return await snapshot.read(stream, offset, length)
      } finally {
        gate.leave(size)
      }
    },
    async isHole(stream, offset, length) {
      for await (const { kind, size } of snapshot.extents(stream, { start: offset, end: offset + length }))
        return kind === 'hole' && size === length
      return false
    },
    async extents(stream, offset, length, countMax) {
      const end = offset + Math.min(length, serveLimits.extentChunkCountMax * chunkSizeAvg)
      const found: Extent[] = []
      for await (const extent of snapshot.extents(stream, { start: offset, end })) {
        found.push(extent)
        if (found.length >= countMax) break
      }
      return found
    }
  }
}
