import { createSpread } from '../compression/spread.js'
import { memoryLimits } from '../limits.js'
import type { SampledSource } from './sample.js'

/** Keeps parts of a stream, spread over all of it, so that it can be sampled like a file. */
export interface Reservoir {
  /** Copies what it wants of the next bytes. */
  readonly add: (bytes: Uint8Array) => void
  /** What was kept, as if it were a file: the parts one behind the other. */
  readonly end: () => SampledSource
}

const unitSize = memoryLimits.reservoirUnitSize

/**
 * The stream is cut into units; as it grows, fewer of them are kept.
 *
 * @param sizeMax bytes that are kept at most; two units at least
 */
export function createReservoir(sizeMax: number): Reservoir {
  const spread = createSpread(Math.max(2, Math.floor(sizeMax / unitSize)))
  const kept = new Map<number, Uint8Array>()
  let number = 0
  let filled = 0

  /** The memory of the unit that is being filled; `undefined` when it is not wanted. */
  const open = (): Uint8Array | undefined => {
    if (filled > 0) return kept.get(number)
    if (!spread.takes(number)) return undefined
    for (const old of kept.keys()) if (!spread.holds(old)) kept.delete(old)
    const unit = new Uint8Array(unitSize)
    kept.set(number, unit)
    return unit
  }

  return {
    add(bytes) {
      for (let start = 0; start < bytes.length;) {
        const piece = bytes.subarray(start, start + unitSize - filled)
        open()?.set(piece, filled)
        start += piece.length
        filled += piece.length
        if (filled < unitSize) continue
        number += 1
        filled = 0
      }
    },
    end() {
      const units = [...kept].map(([of, unit]) => (of === number ? unit.subarray(0, filled) : unit))
      return joinSources(units.map(memorySource))
    }
  }
}

const memorySource = (bytes: Uint8Array): SampledSource => ({
  size: bytes.length,
  readAt(offset, into) {
    into.set(bytes.subarray(offset, offset + into.length))
    return Promise.resolve()
  }
})

/** Sources one behind the other, as one. */
export function joinSources(sources: readonly SampledSource[]): SampledSource {
  return {
    size: sources.reduce((sum, { size }) => sum + size, 0),
    async readAt(offset, into) {
      let start = 0
      for (const source of sources) {
        const from = Math.max(offset, start)
        const to = Math.min(offset + into.length, start + source.size)
        if (from < to) await source.readAt(from - start, into.subarray(from - offset, to - offset))
        start += source.size
      }
    }
  }
}
