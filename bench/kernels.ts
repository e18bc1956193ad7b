import { openSync, readSync, closeSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isZero } from '../lib/chunking/zero.js'
import { createBlockEncoder } from '../lib/compression/codecs.js'
import { blake3 } from '../lib/format/digest.js'
import { resolveSettings } from '../lib/profiles.js'

/** CPU seconds that a build cannot do without, each kernel measured alone, on one thread, over one source. */
export interface KernelSeconds {
  readonly holeTest: number
  readonly digest: number
  readonly codec: number
}

const windowSize = 64 * 1024 * 1024

/** Runs hole test, digest and codec over the chunks of a file, as a build with that profile would meet them. */
export async function measureKernels(path: string, profile: string): Promise<KernelSeconds> {
  const { codec, level, chunkSizeAvg } = resolveSettings({ profile })
  const encode = createBlockEncoder(codec, level)
  const window = Buffer.alloc(windowSize)
  const seen = new Set<string>()
  const spent = { holeTest: 0, digest: 0, codec: 0 }
  const fd = openSync(path, 'r')
  for (let size = readSync(fd, window); size > 0; size = readSync(fd, window)) {
    const chunks: Buffer[] = []
    for (let start = 0; start < size; start += chunkSizeAvg)
      chunks.push(window.subarray(start, Math.min(size, start + chunkSizeAvg)))
    let data: Buffer[] = []
    spent.holeTest += cpuOf(() => (data = chunks.filter((chunk) => !isZero(chunk))))
    let digests: Buffer[] = []
    spent.digest += cpuOf(() => (digests = data.map((chunk) => blake3(chunk))))
    const unique = data.filter((_, i) => {
      const name = digests[i]?.toString('latin1') ?? ''
      return !seen.has(name) && seen.add(name)
    })
    for (let i = 0; i < unique.length; i += 16) {
      spent.codec += cpuOf(() => unique.slice(i, i + 16).forEach((chunk) => encode(chunk)))
      await nextTurn() // the bindings free their buffers then
    }
  }
  closeSync(fd)
  return spent
}

function cpuOf(work: () => void): number {
  const start = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1e6
}
