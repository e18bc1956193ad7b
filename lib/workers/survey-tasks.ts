import { setImmediate as nextTurn } from 'node:timers/promises'
import { findCandidates, type Candidates } from '../chunking/candidates.js'
import type { CodecName } from '../format/frame.js'
import { countOutput } from './collect.js'
import { digestChunks, type DigestedChunks } from './digest-chunks.js'
import { encoderFor, type SharedDictionary } from './prepared.js'

/** Chunks side by side in some bytes. */
export interface Run {
  /** Of the first of them. */
  readonly start: number
  readonly sizes: Uint32Array
}

export type DigestedRun = Run & DigestedChunks

export interface ScanBatchArgs {
  readonly bytes: Uint8Array
  /** Where to begin; the 32 bytes before it count for the cuts. */
  readonly start: number
  readonly levelMin: number
  /** Fixed chunks. */
  readonly pieces: Run
}

export interface Scanned {
  readonly candidates: Candidates
  readonly pieces: DigestedRun
  /** For the candidates alone. */
  readonly elapsedMs: number
}

/** Where chunks may be cut, and the fixed ones. */
export async function scanBatch({ bytes, start, levelMin, pieces }: ScanBatchArgs): Promise<Scanned> {
  const before = performance.now()
  const candidates = findCandidates(bytes, start, levelMin)
  const elapsedMs = performance.now() - before
  return { candidates, pieces: await digestRun(bytes, pieces), elapsedMs }
}

export interface DigestRunsArgs {
  readonly bytes: Uint8Array
  readonly runs: readonly Run[]
}

/** Hole test and digest of the chunks of several runs. */
export async function digestRuns({ bytes, runs }: DigestRunsArgs): Promise<DigestedRun[]> {
  return Promise.all(runs.map((run) => digestRun(bytes, run)))
}

async function digestRun(bytes: Uint8Array, run: Run): Promise<DigestedRun> {
  const { start, sizes } = run
  const size = sizes.reduce((sum, size) => sum + size, 0)
  return { ...run, ...(await digestChunks({ bytes: bytes.subarray(start, start + size), sizes })) }
}

export interface MeasureJob {
  readonly codec: CodecName
  readonly level: number
  readonly dictionary?: SharedDictionary
  readonly chunks: readonly Uint8Array[]
}

export interface Measured {
  /** What each chunk takes without its frame header; raw where it does not shrink. */
  readonly sizes: readonly number[]
  readonly elapsedMs: number
}

/** Compresses chunks and forgets the result. */
export async function measureChunks(jobs: readonly MeasureJob[]): Promise<Measured[]> {
  const measured: Measured[] = []
  for (const { codec, level, dictionary, chunks } of jobs) {
    const encode = encoderFor(codec, level, dictionary)
    const sizes: number[] = []
    let elapsedMs = 0
    for (const chunk of chunks) {
      const start = performance.now()
      sizes.push((encode(chunk) ?? chunk).length)
      elapsedMs += performance.now() - start
      countOutput(chunk.length)
      await nextTurn()
    }
    measured.push({ sizes, elapsedMs })
  }
  return measured
}
