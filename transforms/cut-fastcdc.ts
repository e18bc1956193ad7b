import { createCutChooser, windowSize, type Cuts, type FastCdcOptions } from '../lib/chunking/fastcdc.js'
import { memoryLimits } from '../lib/limits.js'
import type { WorkerPool } from '../lib/workers/pool.js'
import type { BatchSlabs, Slab } from '../lib/workers/slabs.js'
import type { CutChunks, Cutter } from './chunker.js'

/** A piece of the stream in a slab: from `roomBefore` on, behind room for what the piece before leaves. */
interface Piece {
  readonly slab: Slab
  readonly end: number
  readonly cuts: Promise<Cuts>
}

/**
 * Content-defined chunks. Where cuts may be is searched for in several pieces of the stream at once, on the
 * pool; which of them end a chunk is then told one piece after another. The bytes of an unfinished chunk move
 * in front of the next piece.
 *
 * Holds a piece a thread and two more: 1 MiB each, or twice the largest chunk where that is more.
 */
export function createFastCdcCutter(options: FastCdcOptions, pool: WorkerPool, slabs: BatchSlabs): Cutter {
  const { avg, max } = options
  /** A multiple of 4, as `findCuts` wants it. */
  const roomBefore = Math.ceil(max / 64) * 64
  const capacity = Math.max(memoryLimits.batchSize, 2 * roomBefore)
  const chooseCut = createCutChooser(options)
  const inWork: Piece[] = []

  let slab: Slab | undefined
  let filled = roomBefore
  /** The last bytes of the piece before, for the rolling hash. */
  const history = new Uint8Array(windowSize)

  /** The unfinished chunk, and the cuts in it that are known, as offsets from its end: none is above 0. */
  const rest = new Uint8Array(max)
  let restSize = 0
  let restCuts: Record<keyof Cuts, number[]> = { strict: [], loose: [] }

  const search = (): void => {
    if (slab === undefined || filled === roomBefore) return
    const args = { bytes: slab.bytes, start: roomBefore, end: filled, avg }
    slab.bytes.set(history, roomBefore - windowSize)
    history.set(slab.bytes.subarray(filled - windowSize, filled))
    const cuts = pool.run('findBatchCuts', args)
    cuts.catch(() => undefined) // met when its turn comes, or never, when the pipeline is torn down
    inWork.push({ slab, end: filled, cuts })
    slab = undefined
    filled = roomBefore
  }

  /** The chunks that end in the oldest piece. */
  async function* finish(isLast: boolean): AsyncGenerator<CutChunks> {
    const piece = inWork.shift()
    if (piece === undefined) return
    const { slab, end } = piece
    const found = await piece.cuts
    const cutsOf = (kind: keyof Cuts): number[] => [
      ...restCuts[kind].map((cut) => roomBefore + cut),
      ...Array.from(found[kind])
    ]
    const cuts = { strict: cutsOf('strict'), loose: cutsOf('loose') }
    const start = roomBefore - restSize
    slab.bytes.set(rest.subarray(0, restSize), start)

    const sizes: number[] = []
    let from = start
    for (let to = chooseCut(cuts, from, end, isLast); to !== -1; to = chooseCut(cuts, from, end, isLast)) {
      sizes.push(to - from)
      from = to
    }
    restSize = end - from
    rest.set(slab.bytes.subarray(from, end))
    const left = (kind: keyof Cuts): number[] =>
      cuts[kind].filter((cut) => cut > from).map((cut) => cut - end)
    restCuts = { strict: left('strict'), loose: left('loose') }
    if (sizes.length === 0) slab.release()
    else
      yield { bytes: slab.bytes.subarray(start, from), sizes: Uint32Array.from(sizes), release: slab.release }
  }

  async function* take(bytes: Uint8Array): AsyncGenerator<CutChunks> {
    for (let offset = 0; offset < bytes.length;) {
      slab ??= slabs.acquire(capacity)
      const piece = bytes.subarray(offset, offset + capacity - filled)
      slab.bytes.set(piece, filled)
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
    restSize = 0
    restCuts = { strict: [], loose: [] }
    history.fill(0)
  }

  return { take, end }
}
