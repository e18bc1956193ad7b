/** Sources, snapshots and verdicts for the tests of the independent reader. */
import { join } from 'node:path'
import type { Test } from 'tap'
import { build, type BuildOptions } from 'hexz'
import { Refused, type Contents, type readForward } from '../independent-reader.js'
import type { Credentials } from './frames.js'

/** Numbers from 0 to below `limit`, the same in every run (mulberry32). */
export function seeded(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0
    let z = Math.imul(state ^ (state >>> 15), state | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) % limit
  }
}
/** Compresses to about two thirds, and has no zeros. */
export function words(seed: number, size: number): Buffer {
  const random = seeded(seed)
  const bytes = Buffer.alloc(size)
  for (let at = 0; at < size; at++) bytes[at] = 33 + random(at % 3 === 0 ? 4 : 90)
  return bytes
}
async function* from(bytes: Buffer): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += 100_000)
    yield await Promise.resolve(bytes.subarray(at, at + 100_000))
}

/** What `read` says of `file`: why it refuses, or `whole` when it gives what `good` has. */
export function verdict(
  read: typeof readForward,
  file: Buffer,
  credentials: Credentials = {},
  good?: Contents
): string {
  try {
    const { streams, digest } = read(file, credentials)
    const isSame =
      good?.digest.equals(digest) &&
      [...good.streams].every(([name, bytes]) => streams.get(name)?.equals(bytes))
    return isSame === true ? 'whole' : 'wrong bytes'
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    return error.as
  }
}

export type Options = Omit<BuildOptions, 'source' | 'memory' | 'target'>
export async function built(
  t: Test,
  sources: { disk: Buffer; memory?: Buffer },
  options: Options = {}
): Promise<string> {
  const path = join(t.testdir({}), 'snapshot.st')
  const memory = sources.memory && { memory: from(sources.memory) }
  await build({ source: from(sources.disk), ...memory, concurrency: 1, ...options, target: path })
  return path
}
