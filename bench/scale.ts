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
async function build(source: string, options: readonly string[], coreCount: number): Promise<Shares> {
  const flags = ['--concurrency', String(coreCount), '--progress', 'none', '-o', '/dev/null', ...options]
  const start = performance.now()
  const words = ['-c', `0-${coreCount - 1}`, process.execPath, cli, 'build', source, ...flags]
  const child = spawn('taskset', words, { stdio: 'ignore' })
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
  // The worker threads are the busiest of the others.
  const others = [...times.values()].sort((a, b) => b - a)
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
  return { wall, main, workers: sum(others.slice(0, coreCount)), other: sum(others.slice(coreCount)) }
}

const middle = (runs: readonly Shares[], figure: keyof Shares): number =>
  spread(runs.map((run) => run[figure])).median

/**
 * Builds a source on 1 core and on 2 (with `taskset`), tells what each kind of thread took, and models more cores
 * from it. The model: no wall time is below the main thread's own time, nor below all CPU time shared out evenly.
 * What the disk can do, and that each further thread has to be started, is not in it. Linux only: it reads /proc.
 *
 * @param name of the source, for the heading
 * @returns Markdown
 */
export async function renderScaling(
  name: string,
  source: string,
  options: readonly string[],
  runCount: number
): Promise<string> {
  const measured: Shares[][] = []
  for (const coreCount of [1, 2]) {
    await build(source, options, coreCount) // fills the page cache
    const runs: Shares[] = []
    for (let i = 0; i < runCount; i++) runs.push(await build(source, options, coreCount))
    measured.push(runs)
  }
  const rows = measured.map((runs, i) => {
    const figures = (['wall', 'main', 'workers', 'other'] as const).map((figure) => middle(runs, figure))
    return `| ${i + 1} | ${figures.map((figure) => figure.toFixed(2)).join(' | ')} |`
  })
  const two = measured[1] ?? []
  const main = middle(two, 'main')
  const total = main + middle(two, 'workers') + middle(two, 'other')
  const model = modelled.map((coreCount) => {
    const bound = main > total / coreCount ? 'the main thread' : 'all cores'
    return `| ${coreCount} | ${Math.max(main, total / coreCount).toFixed(2)} | ${bound} |`
  })
  return [
    `\`${['build', name, ...options].join(' ')}\`: middle of ${runCount} runs on so many cores, seconds.`,
    '',
    '| cores | wall | main thread | worker threads | other threads |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    'Modelled from the figures for 2 cores: the main thread alone, or all CPU time shared out evenly.',
    '',
    '| cores | wall | bounded by |',
    '|---|---|---|',
    ...model,
    '',
    `The main thread is what saturates first, at ${(total / main).toFixed(1)} cores.`
  ].join('\n')
}
