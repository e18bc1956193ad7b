import { HexzError, openSnapshot, recoverStream, verifySnapshot, type Range } from '../../lib/index.js'
import { bytesOf } from '../../lib/reader/open-snapshot.js'
import { memorySource } from '../helpers/snapshots.js'

/** What each way to read says of a forgery. */
export interface Verdicts {
  readonly verify: string
  /** The first KiB, or why there is none. */
  readonly extract: string
  readonly recover: {
    readonly isComplete: boolean
    readonly recovered: readonly Range[]
    readonly lost: readonly Range[]
    readonly damage: readonly Range[]
    readonly fault?: string
    /** What was written up to the last byte. */
    readonly bytes: string
  }
}

/** Runs of letters as in `a512 b512`; zeros are `0`. */
function runsOf(bytes: Uint8Array): string {
  const runs: { letter: string; size: number }[] = []
  for (const byte of bytes) {
    const letter = byte === 0 ? '0' : String.fromCharCode(byte)
    const last = runs.at(-1)
    if (last?.letter === letter) last.size += 1
    else runs.push({ letter, size: 1 })
  }
  return runs.map(({ letter, size }) => `${letter}${size}`).join(' ')
}

export async function verdictsOf(bytes: Buffer): Promise<Verdicts> {
  const source = memorySource(bytes, 'f.st')
  const said = (error: unknown): string => {
    if (error instanceof HexzError) return `${error.code}: ${error.message}`
    throw error
  }
  const verify = await verifySnapshot(source, { concurrency: 0 }).then(
    ({ chunkCount }) => `intact, ${chunkCount}`,
    said
  )
  const read = async (): Promise<string> => {
    const snapshot = await openSnapshot(source)
    const pieces: Buffer[] = []
    const size = Math.min(1024, snapshot.streams[0]?.size ?? 0)
    for await (const piece of bytesOf(snapshot.runs('disk', { end: size }))) pieces.push(piece)
    return runsOf(Buffer.concat(pieces))
  }
  const written = Buffer.alloc(8192)
  let end = 0
  const target = {
    writeAt(offset: number, piece: Uint8Array): Promise<void> {
      if (offset + piece.length > written.length) throw new Error(`written at ${offset}`)
      written.set(piece, offset)
      end = Math.max(end, offset + piece.length)
      return Promise.resolve()
    }
  }
  const { isComplete, recovered, lost, damage, fault } = await recoverStream(source, target, {
    concurrency: 0
  })
  const recover = { isComplete, recovered, lost, damage, ...(fault === undefined ? {} : { fault }) }
  return {
    verify,
    extract: await read().catch(said),
    recover: { ...recover, bytes: runsOf(written.subarray(0, end)) }
  }
}

export const range = (start: number, end: number): Range => ({ start, end })
