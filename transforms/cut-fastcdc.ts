import { createCutter, type Candidates } from '../lib/chunking/candidates.js'
import { cutBits, windowSize, type FastCdcOptions } from '../lib/chunking/fastcdc.js'
import { copyBytes } from '../lib/format/bytes.js'
import { memoryLimits } from '../lib/limits.js'
import type { WorkerPool } from '../lib/workers/pool.js'
import type { BatchSlabs, Slab } from '../lib/workers/slabs.js'
import type { CutChunks, StreamCutter } from './chunker.js'

/** A piece of the stream in a slab: from `roomBefore` on, behind room for what the piece before leaves. */
interface Piece {
  readonly slab: Slab
  readonly end: number
  readonly candidates: Promise<Candidates>
}

/**
 * Content-defined chunks. Where cuts may be is searched for in several pieces of the stream at once, on the
 * pool; which of them end a chunk is then told one piece after another. The bytes of an unfinished chunk move
 * in front of the next piece.
 *
 * Holds a piece a thread and two more: 1 MiB each, or twice the largest chunk where that is more.
 */
export function createFastCdcCutter(
  options: FastCdcOptions,
  pool: WorkerPool,
  slabs: BatchSlabs
): StreamCutter {
  const { avg, max } = options
  /** A multiple of 4, for the search to be quick. */
  const roomBefore = Math.ceil(max / 64) * 64
  const capacity = Math.max(memoryLimits.batchSize, 2 * roomBefore)
  const inWork: Piece[] = []

  let slab: Slab | undefined
  let filled = roomBefore
  /** The last bytes of the piece before, for the rolling hash. */
  const history = new Uint8Array(windowSize)

  let cutter = createCutter(options, 0)
  /** Offset in the stream of the piece whose chunks are told next. */
  let pieceOffset = 0
  /** The unfinished chunk before it. */
  const rest = new Uint8Array(max)
  let restSize = 0

  const search = (): void => {
    if (slab === undefined || filled === roomBefore) return
    const bytes = slab.bytes.subarray(0, filled)
    bytes.set(history, roomBefore - windowSize)
    history.set(bytes.subarray(filled - windowSize))
    const candidates = pool.run('findCuts', { bytes, start: roomBefore, levelMin: cutBits(avg).loose })
    candidates.catch(() => undefined) // met when its turn comes, or never, when the pipeline is torn down
    inWork.push({ slab, end: filled, candidates })
    slab = undefined
    filled = roomBefore
  }

  /** The chunks that end in the oldest piece. */
  async function* finish(isLast: boolean): AsyncGenerator<CutChunks> {
    const piece = inWork.shift()
    if (piece === undefined) return
    const { slab, end } = piece
    const candidates = await piece.candidates
    const slabOffset = pieceOffset - roomBefore
    const { start, cuts } = cutter.cut(candidates, slabOffset, slabOffset + end, isLast)
    const last = cuts.at(-1) ?? start
    copyBytes(rest.subarray(0, restSize), slab.bytes, roomBefore - restSize)
    restSize = slabOffset + end - last
    copyBytes(slab.bytes.subarray(end - restSize, end), rest)
    pieceOffset += end - roomBefore
    if (last === start) {
      slab.release()
      return
    }
    const sizes = Uint32Array.from(cuts, (cut, i) => cut - (cuts[i - 1] ?? start))
    yield { bytes: slab.bytes.subarray(start - slabOffset, last - slabOffset), sizes, release: slab.release }
  }

  async function* take(bytes: Uint8Array): AsyncGenerator<CutChunks> {
    for (let offset = 0; offset < bytes.length;) {
      slab ??= slabs.acquire(capacity)
      const piece = bytes.subarray(offset, offset + capacity - filled)
      copyBytes(piece, slab.bytes, filled)
      filled += piece.length
      offset += piece.length
      if (filled < capacity) continue
      search()
      // The last piece must not go before it is known to be the last.
      if (inWork.length >= memoryLimits.batchesInWork(pool.size)) yield* finish(false)
    }
    slabs.slabOf(bytes)?.release()
  }

  async function* end(): AsyncGenerator<CutChunks> {
    search()
    while (inWork.length > 0) yield* finish(inWork.length === 1)
    cutter = createCutter(options, 0)
    pieceOffset = 0
    restSize = 0
  }

  return { take, end }
}
