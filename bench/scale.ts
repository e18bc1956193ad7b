import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

const modelled = [1, 2, 4, 8, 16, 32]
const lookMs = 5
const cli = fileURLToPath(new URL('../cli.js', import.meta.url))

/** CPU seconds of each thread so far; empty when the process has ended. */
function threadTimes(pid: number): Map<number, number> {
  try {
    const folder = `/proc/${pid}/task`
    const nanoseconds = (tid: string): number =>
      Number(readFileSync(`${folder}/${tid}/schedstat`, 'utf8').split(' ')[0])
    return new Map(readdirSync(folder).map((tid) => [Number(tid), nanoseconds(tid) / 1e9]))
  } catch {
    return new Map()
  }
}

/** One build on so many cores, with as many threads. What threads do in the last 5 ms is not seen. */
async function build(source: string, options: readonly string[], coreCount: number): Promise<Shares> {
  const flags = ['--concurrency', String(coreCount), '--progress', 'none', '-o', '/dev/null', ...options]
  const start = performance.now()
  const words = ['-c', `0-${coreCount - 1}`, process.execPath, cli, 'build', source, ...flags]
  const child = spawn('taskset', words, { stdio: 'ignore' })
  const times = new Map<number, number>()
  const look = (): void => {
    for (const [tid, seconds] of threadTimes(child.pid ?? 0)) times.set(tid, seconds)
  }
  const timer = setInterval(look, lookMs)
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

/** The middle of some runs, after one that fills the page cache. */
async function measureBuild(
  source: string,
  options: readonly string[],
  coreCount: number,
  runCount: number
): Promise<Shares> {
  await build(source, options, coreCount)
  const runs: Shares[] = []
  for (let i = 0; i < runCount; i++) runs.push(await build(source, options, coreCount))
  const middle = (figure: keyof Shares): number => spread(runs.map((run) => run[figure])).median
  return { wall: middle('wall'), main: middle('main'), workers: middle('workers'), other: middle('other') }
}

/** A build of one byte: what starting and ending take. */
async function measureStart(options: readonly string[], runCount: number): Promise<Shares> {
  const folder = mkdtempSync(join(tmpdir(), 'hexz-bench-'))
  try {
    writeFileSync(join(folder, 'byte'), 'x')
    return await measureBuild(join(folder, 'byte'), options, 2, runCount)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const allOf = ({ main, workers, other }: Shares): number => main + workers + other

/**
 * Builds a source on 1 core and on 2 (with `taskset`), tells what each kind of thread took, and models more cores
 * from it. The model: starting, one thing after another, takes what a build of one byte takes; then no wall time is
 * below the main thread's own time, nor below all CPU time shared out evenly. What the disk can do, and that each
 * further thread has to be started, is not in it. Linux only: it reads /proc.
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
  const start = await measureStart(options, runCount)
  const one = await measureBuild(source, options, 1, runCount)
  const two = await measureBuild(source, options, 2, runCount)
  const measured = [
    ['start, 2', start],
    ['1', one],
    ['2', two]
  ] as const
  const rows = measured.map(([cores, shares]) => {
    const figures = (['wall', 'main', 'workers', 'other'] as const).map((figure) => shares[figure].toFixed(2))
    return `| ${cores} | ${figures.join(' | ')} |`
  })
  const main = two.main - start.main
  const all = allOf(two) - allOf(start)
  const model = modelled.map((coreCount) => {
    const wall = start.wall + Math.max(main, all / coreCount)
    return `| ${coreCount} | ${wall.toFixed(2)} | ${main > all / coreCount ? 'the main thread' : 'all cores'} |`
  })
  return [
    `\`${['build', name, ...options].join(' ')}\`: middle of ${runCount} runs on so many cores, seconds; \`start\` is a build of one byte.`,
    '',
    '| cores | wall | main thread | worker threads | other threads |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    'Modelled from the figures for 2 cores: the start, and then the main thread alone, or all CPU time shared out evenly.',
    '',
    '| cores | wall | bounded by |',
    '|---|---|---|',
    ...model,
    '',
    `The main thread is what saturates first, at ${(all / main).toFixed(1)} cores.`
  ].join('\n')
}
