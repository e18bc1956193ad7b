/**
 * Reads of an open snapshot in this process: random ones of 4 KiB and 64 KiB, one and many at a time, and
 * sequential ones. Prints reads a second, latencies and memory.
 *
 *   node dist/bench/random-read.js SNAPSHOT [SECONDS]
 */
import { openSnapshot, type Snapshot } from '../lib/index.js'

const KiB = 1024
const MiB = 1024 * KiB
const [path = '', seconds = '3'] = process.argv.slice(2)

/** The same places for every run: xorshift32. */
function places(seed: number, count: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % count
  }
}

async function measure(
  snapshot: Snapshot,
  size: number,
  depth: number,
  next: (() => number) | undefined
): Promise<string> {
  const [stream] = snapshot.streams
  if (stream === undefined) throw new Error('the snapshot has no streams')
  const count = Math.floor(stream.size / size)
  const latencies: number[] = []
  const start = performance.now()
  const cpuStart = process.cpuUsage()
  const end = start + Number(seconds) * 1000
  let turn = 0
  let peak = 0
  const reader = async (): Promise<void> => {
    const into = Buffer.alloc(size)
    while (performance.now() < end) {
      const index = next === undefined ? turn++ : next()
      if (index >= count) return
      const before = performance.now()
      await snapshot.read(stream.name, index * size, size, into)
      latencies.push(performance.now() - before)
      if (latencies.length % 256 === 0) peak = Math.max(peak, process.memoryUsage.rss())
    }
  }
  await Promise.all(Array.from({ length: depth }, reader))
  const elapsed = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpuStart)
  latencies.sort((a, b) => a - b)
  const at = (share: number): string =>
    ((latencies[Math.floor(share * (latencies.length - 1))] ?? 0) * 1000).toFixed(0).padStart(6)
  return [
    `${(latencies.length / elapsed).toFixed(0).padStart(8)} reads/s`,
    `${((latencies.length * size) / elapsed / MiB).toFixed(0).padStart(6)} MiB/s`,
    `p50 ${at(0.5)} µs`,
    `p99 ${at(0.99)} µs`,
    `CPU ${((user + system) / latencies.length).toFixed(0).padStart(5)} µs/read`,
    `peak ${(peak / MiB).toFixed(0)} MiB`
  ].join('  ')
}

for (const concurrency of [0, 2])
  for (const [name, size, depth, isRandom] of [
    ['random 4 KiB', 4 * KiB, 1, true],
    ['random 4 KiB', 4 * KiB, 16, true],
    ['random 64 KiB', 64 * KiB, 1, true],
    ['random 64 KiB', 64 * KiB, 16, true],
    ['random 64 KiB', 64 * KiB, 64, true],
    ['sequential 64 KiB', 64 * KiB, 1, false],
    ['sequential 256 KiB', 256 * KiB, 16, false]
  ] as const) {
    const snapshot = await openSnapshot(path, { concurrency })
    const count = Math.floor((snapshot.streams[0]?.size ?? 0) / size)
    const row = await measure(snapshot, size, depth, isRandom ? places(7, count) : undefined)
    process.stdout.write(
      `threads ${concurrency}  ${name.padEnd(18)} depth ${String(depth).padStart(2)}  ${row}\n`
    )
    await snapshot.close()
  }
