import { createCutter, type Candidates } from '../lib/chunking/candidates.js'
import { cutBits, windowSize, type FastCdcOptions } from '../lib/chunking/fastcdc.js'
import { copyBytes } from '../lib/format/bytes.js'
import { memoryLimits } from '../lib/limits.js'
import type { WorkerPool } from '../lib/workers/pool.js'
import type { BatchSlabs, Slab } from '../lib/workers/slabs.js'
import type { CutChunks, StreamCutter } from './chunker.js'
import { gatherPieces, type Piece } from './gather-pieces.js'

/** A piece in which cuts are searched for. */
interface SearchedPiece {
  readonly slab: Slab
  /** The room before the piece, for what the one before leaves, and its bytes. */
  readonly bytes: Uint8Array
  readonly candidates: Promise<Candidates>
}

/** Bytes that must lie free before a piece, for an unfinished chunk; a multiple of 4, for the search to be quick. */
export const roomBefore = (chunkSizeMax: number): number => Math.ceil(chunkSizeMax / 64) * 64

/** The same for pieces that are read, where a piece is as large as a read; larger ones are put together, by copying. */
export const roomBeforeRead = (chunkSizeMax: number): number =>
  chunkSizeMax <= memoryLimits.readSize ? roomBefore(chunkSizeMax) : 0

/**
 * Content-defined chunks. Where cuts may be is searched for in several pieces of the stream at once, on the
 * pool; which of them end a chunk is then told one piece after another. The bytes of an unfinished chunk move
 * in front of the next piece.
 *
 * Holds a piece a thread, at least two, and one more: 2 MiB each, or the largest chunk where that is more, and room
 * for one.
 */
export function createFastCdcCutter(
  options: FastCdcOptions,
  pool: WorkerPool,
  slabs: BatchSlabs
): StreamCutter {
  const { avg, max } = options
  const room = roomBefore(max)
  const pieces = gatherPieces(Math.max(memoryLimits.batchSize, room), slabs, room)
  const inWork: SearchedPiece[] = []
  /** The last bytes of the piece before, for the rolling hash. */
  const history = new Uint8Array(windowSize)

  let cutter = createCutter(options, 0)
  /** Offset in the stream of the piece whose chunks are told next. */
  let pieceOffset = 0
  /** The unfinished chunk before it. */
  const rest = new Uint8Array(max)
  let restSize = 0

  const search = ({ slab, size }: Piece): void => {
    const bytes = new Uint8Array(slab.bytes.buffer, slab.bytes.byteOffset - room, room + size)
    bytes.set(history, room - windowSize)
    history.set(bytes.subarray(bytes.length - windowSize))
    const candidates = pool.run('findCuts', { bytes, start: room, levelMin: cutBits(avg).loose })
    candidates.catch(() => undefined) // met when its turn comes, or never, when the pipeline is torn down
    inWork.push({ slab, bytes, candidates })
  }

  /** The chunks that end in the oldest piece. */
  async function* finish(isLast: boolean): AsyncGenerator<CutChunks> {
    const piece = inWork.shift()
    if (piece === undefined) return
    const { slab, bytes } = piece
    const candidates = await piece.candidates
    const bytesOffset = pieceOffset - room
    const { start, cuts } = cutter.cut(candidates, bytesOffset, bytesOffset + bytes.length, isLast)
    const last = cuts.at(-1) ?? start
    copyBytes(rest.subarray(0, restSize), bytes, room - restSize)
    restSize = bytesOffset + bytes.length - last
    copyBytes(bytes.subarray(bytes.length - restSize), rest)
    pieceOffset += bytes.length - room
    if (last === start) {
      slab.release()
      return
    }
    const sizes = Uint32Array.from(cuts, (cut, i) => cut - (cuts[i - 1] ?? start))
    yield { bytes: bytes.subarray(start - bytesOffset, last - bytesOffset), sizes, release: slab.release }
  }

  async function* take(bytes: Uint8Array): AsyncGenerator<CutChunks> {
    for (const piece of pieces.take(bytes)) {
      search(piece)
      // The last piece must not go before it is known to be the last.
      if (inWork.length >= memoryLimits.piecesInWork(pool.size)) yield* finish(false)
    }
  }

  async function* end(): AsyncGenerator<CutChunks> {
    const piece = pieces.end()
    if (piece !== undefined) search(piece)
    while (inWork.length > 0) yield* finish(inWork.length === 1)
    if (restSize > 0) throw new Error(`${restSize} bytes at the end of a stream belong to no chunk`)
    cutter = createCutter(options, 0)
    pieceOffset = 0
    restSize = 0
  }

  return { take, end }
}
