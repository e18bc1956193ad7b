import { planSamples } from '../compression/sampling.js'
import type { SampledBytes } from '../workers/choose-dictionary.js'

/** What can be read at any offset, as often as one likes. */
export interface SampledSource {
  /** Bytes. */
  readonly size: number
  /** Fills `into` from `offset`, and leaves alone what lies behind the end. */
  readAt(offset: number, into: Uint8Array): Promise<void>
}

/** Reads at the same time. */
const readCount = 8

/** Reads samples for `dictionarySampler`, spread over the sources as if they were one: at most 20 MiB. */
export async function sampleSources(
  sources: readonly SampledSource[],
  chunkSize: number,
  signal?: AbortSignal
): Promise<SampledBytes> {
  const counts = sources.map(({ size }) => Math.floor(size / chunkSize))
  const { pieces, heldOut } = planSamples(
    counts.reduce((sum, count) => sum + count, 0),
    chunkSize
  )
  const trainingSize = pieces.reduce((sum, { size }) => sum + size, 0)
  const memory = new Uint8Array(new SharedArrayBuffer(trainingSize + heldOut.length * chunkSize))
  const training = memory.subarray(0, trainingSize)
  let end = 0
  const take = (size: number): Uint8Array => memory.subarray(end, (end += size))

  const reads: { chunk: number; start: number; into: Uint8Array }[] = pieces.map(
    ({ chunk, start, size }) => ({
      chunk,
      start,
      into: take(size)
    })
  )
  const chunks = heldOut.map((chunk) => {
    const into = take(chunkSize)
    reads.push({ chunk, start: 0, into })
    return into
  })
  const left = reads.values()
  const work = async (): Promise<void> => {
    for (const { chunk, start, into } of left) {
      signal?.throwIfAborted()
      await readChunk(sources, counts, chunk, chunkSize, start, into)
    }
  }
  await Promise.all(Array.from({ length: readCount }, work))
  return {
    training,
    sizes: pieces.map(({ size }) => size),
    heldOut: chunks,
    likelySize: sources.reduce((sum, { size }) => sum + size, 0)
  }
}

/** Reads in the chunk of that number, counted over all sources. */
async function readChunk(
  sources: readonly SampledSource[],
  counts: readonly number[],
  number: number,
  chunkSize: number,
  start: number,
  into: Uint8Array
): Promise<void> {
  let first = 0
  for (const [i, source] of sources.entries()) {
    const next = first + (counts[i] ?? 0)
    if (number < next) return source.readAt((number - first) * chunkSize + start, into)
    first = next
  }
}
