/**
 * Builds the same source on 1 core and on 2 (with `taskset`), tells what each kind of thread took, and models
 * more cores from it: which of them ends the growth, and where.
 *
 *   node dist/bench/scaling.js SOURCE [--runs N] [build options…]
 *
 * The model: no wall time is below the main thread's own time, nor below all CPU time shared out evenly. What the
 * disk can do, and that each further thread has to be started, is not in it. Linux only: it reads /proc.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { spread } from './measure.js'

/** Seconds. */
interface Shares {
  readonly wall: number
  readonly main: number
  /** All worker threads together. */
  readonly workers: number
  /** Threads of libuv (reads, writes) and of V8 (compiler, collector). */
  readonly other: number
}

const ticksPerSecond = 100
const modelled = [1, 2, 4, 8, 16, 32]

const [source, ...rest] = process.argv.slice(2)
if (source === undefined) throw new Error('usage: node dist/bench/scaling.js SOURCE [--runs N] [options…]')
const runsAt = rest.indexOf('--runs')
const runCount = runsAt === -1 ? 5 : Number(rest.splice(runsAt, 2)[1])
const cli = fileURLToPath(new URL('../cli.js', import.meta.url))

/** CPU seconds of each thread so far; empty when the process has ended. */
function threadTimes(pid: number): Map<number, number> {
  try {
    const folder = `/proc/${pid}/task`
    return new Map(
      readdirSync(folder).map((tid) => {
        const fields = readFileSync(`${folder}/${tid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
        return [Number(tid), (Number(fields[11]) + Number(fields[12])) / ticksPerSecond]
      })
    )
  } catch {
    return new Map()
  }
}

/** One build on so many cores, with as many threads. What threads do in the last 20 ms is not seen. */
async function measure(coreCount: number): Promise<Shares> {
  const cores = `0-${coreCount - 1}`
  const flags = ['--concurrency', String(coreCount), '--progress', 'none', '-o', '/dev/null']
  const start = performance.now()
  const child = spawn(
    'taskset',
    ['-c', cores, process.execPath, cli, 'build', source ?? '', ...flags, ...rest],
    {
      stdio: 'ignore'
    }
  )
  const times = new Map<number, number>()
  const look = (): void => {
    for (const [tid, seconds] of threadTimes(child.pid ?? 0)) times.set(tid, seconds)
  }
  const timer = setInterval(look, 20)
  const [code] = (await once(child, 'exit')) as [number | null]
  clearInterval(timer)
  if (code !== 0) throw new Error(`the build ended with ${code ?? 'a signal'}`)
  const wall = (performance.now() - start) / 1000
  const main = times.get(child.pid ?? 0) ?? 0
  times.delete(child.pid ?? 0)
  // The worker threads are the busiest of the others, and the last that were started of equally busy ones.
  const others = [...times.values()].sort((a, b) => b - a)
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
  return { wall, main, workers: sum(others.slice(0, coreCount)), other: sum(others.slice(coreCount)) }
}

const middle = (runs: readonly Shares[], figure: keyof Shares): number =>
  spread(runs.map((run) => run[figure])).median

const measured: Shares[][] = []
for (const coreCount of [1, 2]) {
  const runs: Shares[] = []
  for (let i = 0; i <= runCount; i++) {
    const shares = await measure(coreCount)
    if (i > 0) runs.push(shares)
  }
  measured.push(runs)
}

const print = (text: string): void => void process.stdout.write(`${text}\n`)
print(`${source} ${rest.join(' ')}: middle of ${runCount} runs, seconds`)
print('\n| cores | wall | main thread | worker threads | other threads |\n|---|---|---|---|---|')
for (const [i, runs] of measured.entries()) {
  const columns = (['wall', 'main', 'workers', 'other'] as const).map((figure) =>
    middle(runs, figure).toFixed(2)
  )
  print(`| ${i + 1} | ${columns.join(' | ')} |`)
}
const two = measured[1] ?? []
const main = middle(two, 'main')
const total = main + middle(two, 'workers') + middle(two, 'other')
print('\nModelled from the figures for 2 cores:\n\n| cores | wall | bounded by |\n|---|---|---|')
for (const coreCount of modelled) {
  const shared = total / coreCount
  print(
    `| ${coreCount} | ${Math.max(main, shared).toFixed(2)} | ${main > shared ? 'main thread' : 'all cores'} |`
  )
}
print(`\nThe main thread is what saturates first, at ${(total / main).toFixed(1)} cores.`)
