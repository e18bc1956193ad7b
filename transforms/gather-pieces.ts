import { copyBytes } from '../lib/format/bytes.js'
import type { BatchSlabs, Slab } from '../lib/workers/slabs.js'

/** Bytes that follow one another in a stream: the first `size` of a slab. */
export interface Piece {
  readonly slab: Slab
  readonly size: number
}

/** Gathers a stream, however it arrives, in pieces of one size. */
export interface PieceGatherer {
  /** Takes the next bytes; gives the pieces that are full. */
  take(bytes: Uint8Array): Generator<Piece>
  /** Gives what is left; what is taken next begins another stream. */
  end(): Piece | undefined
}

/**
 * The bytes of a slab that make a whole piece are taken over as they are; all others are copied.
 *
 * Holds one piece.
 *
 * @param room bytes of memory that must lie free in front of each piece
 */
export function gatherPieces(size: number, slabs: BatchSlabs, room = 0): PieceGatherer {
  let slab: Slab | undefined
  let filled = 0

  const end = (): Piece | undefined => {
    if (slab === undefined || filled === 0) return undefined
    const piece = { slab, size: filled }
    slab = undefined
    filled = 0
    return piece
  }

  function* take(bytes: Uint8Array): Generator<Piece> {
    const whole = slabs.slabOf(bytes)
    if (whole !== undefined && filled === 0 && bytes.length === size && whole.room >= room) {
      yield { slab: whole, size }
      return
    }
    for (let offset = 0; offset < bytes.length;) {
      slab ??= slabs.acquire(size, room)
      const part = bytes.subarray(offset, offset + size - filled)
      copyBytes(part, slab.bytes, filled)
      filled += part.length
      offset += part.length
      const piece = filled === size ? end() : undefined
      if (piece !== undefined) yield piece
    }
    whole?.release()
  }

  return { take, end }
}
