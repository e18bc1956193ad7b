/**
 * Times `hexz build` beside the programs that people would otherwise use, in turn (A B A B …) in one run,
 * and prints wall time, peak memory, size and the ratio pair by pair.
 *
 *   npm run bench -- [--runs N] [FILE…]
 *
 * Without a FILE it makes 512 MiB of mixed data. A peer that is not installed is named and left out.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { mixedData } from './mixed-data.js'

const MiB = 1024 * 1024
const cli = fileURLToPath(new URL('../cli.js', import.meta.url))
const threads = String(availableParallelism())

interface Contest {
  readonly profile: string
  readonly peer: string
  readonly peerArguments: (source: string, target: string) => string[]
}

const contests: readonly Contest[] = [
  { profile: 'generic', peer: 'lz4', peerArguments: (source, target) => ['-1', '-q', '-f', source, target] },
  {
    profile: 'eda',
    peer: 'zstd',
    peerArguments: (source, target) => ['-3', `-T${threads}`, '-q', '-f', source, '-o', target]
  }
]

interface Run {
  readonly elapsedMs: number
  /** Peak resident memory in MiB, sampled from /proc; 0 where there is none. */
  readonly peakMiB: number
}

async function time(command: string, args: readonly string[]): Promise<Run> {
  const start = performance.now()
  const child = spawn(command, args, { stdio: 'ignore' })
  let peakMiB = 0
  const sample = setInterval(() => (peakMiB = Math.max(peakMiB, peakOf(child.pid))), 20)
  const [code] = (await once(child, 'close')) as [number | null]
  clearInterval(sample)
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code ?? 'a signal'}`)
  return { elapsedMs: performance.now() - start, peakMiB }
}

function peakOf(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid ?? 0}/status`, 'utf8')
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
  } catch {
    return 0 // ended between two looks
  }
}

const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b)
const spread = (values: readonly number[], digits: number): string => {
  const ranked = sorted(values)
  const at = (share: number): string => (ranked[Math.round((ranked.length - 1) * share)] ?? 0).toFixed(digits)
  return `${at(0)} / ${at(0.5)} / ${at(1)}`
}

async function compare(contest: Contest, source: string, folder: string, runCount: number): Promise<void> {
  const { profile, peer, peerArguments } = contest
  const ours = join(folder, 'ours.st')
  const theirs = join(folder, 'theirs')
  if (spawnSync(peer, ['--version']).error !== undefined) {
    print(`${profile} beside ${peer}: ${peer} is not installed`)
    return
  }
  const build = [cli, 'build', source, '-p', profile, '-o', ours, '--force', '--progress', 'none']
  const pairs: { our: Run; their: Run }[] = []
  for (let run = 0; run <= runCount; run++) {
    const pair = {
      our: await time(process.execPath, build),
      their: await time(peer, peerArguments(source, theirs))
    }
    if (run > 0) pairs.push(pair) // the first warms the page cache
  }
  const size = statSync(source).size
  const row = (name: string, runs: readonly Run[], file: string): string => {
    const seconds = spread(
      runs.map((run) => run.elapsedMs / 1000),
      2
    )
    const rate = spread(
      runs.map((run) => size / MiB / (run.elapsedMs / 1000)),
      0
    )
    const peak = Math.max(...runs.map((run) => run.peakMiB)).toFixed(0)
    return `  ${name.padEnd(14)} ${seconds} s   ${rate} MiB/s   peak ${peak} MiB   ${statSync(file).size} bytes`
  }
  print(`${basename(source)}, ${profile} beside ${peer} ${peerArguments('IN', 'OUT').join(' ')}`)
  print(
    row(
      'hexz',
      pairs.map((pair) => pair.our),
      ours
    )
  )
  print(
    row(
      peer,
      pairs.map((pair) => pair.their),
      theirs
    )
  )
  print(
    `  wall, hexz / ${peer}: ${spread(
      pairs.map(({ our, their }) => our.elapsedMs / their.elapsedMs),
      2
    )}`
  )
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

const args = process.argv.slice(2)
const runsAt = args.indexOf('--runs')
const runCount = runsAt === -1 ? 5 : Number(args.splice(runsAt, 2)[1])
const folder = mkdtempSync(join(tmpdir(), 'hexz-bench-'))
try {
  if (args.length === 0) {
    const made = join(folder, 'mixed.bin')
    await pipeline(Readable.from(mixedData(512 * MiB)), createWriteStream(made))
    args.push(made)
  }
  print(`Node ${process.version}, ${threads} cores; min / median / max of ${runCount} runs after a warm-up`)
  for (const source of args) for (const contest of contests) await compare(contest, source, folder, runCount)
} finally {
  rmSync(folder, { recursive: true })
}
