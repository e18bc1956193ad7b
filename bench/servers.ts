import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Servers and clients that the benches of `hexz serve` have in common. */

export const cli = fileURLToPath(new URL('../cli.js', import.meta.url))

export interface Server {
  readonly name: string
  readonly uri: string
  readonly child: ChildProcess
}

/** Starts a server, and waits until its socket is there. */
export async function startServer(
  name: string,
  socket: string,
  command: string,
  args: readonly string[]
): Promise<Server> {
  const child = spawn(command, args, { stdio: 'ignore' })
  for (let tries = 0; !existsSync(socket); tries++) {
    if (tries > 500 || child.exitCode !== null) throw new Error(`${name} does not listen`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return { name, uri: `nbd+unix:///?socket=${socket}`, child }
}

export async function stopServer({ child }: Server): Promise<void> {
  const closed = once(child, 'close')
  child.kill('SIGTERM')
  await closed
}

/** Peak resident memory so far, MiB. */
export function peakOf({ child }: Server): number {
  const status = readFileSync(`/proc/${child.pid ?? 0}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
}

/** Processor time so far, in seconds; a tick is 10 ms on every Linux that Node runs on. */
export function processorTimeOf({ child }: Server): number {
  const fields =
    readFileSync(`/proc/${child.pid ?? 0}/stat`, 'utf8')
      .split(') ')[1]
      ?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

export interface Load {
  readonly blockSize: number
  readonly depth: number
  readonly jobCount?: number
  readonly seconds: number
  /** Bytes of the disk. */
  readonly size: number
}

export interface Rate {
  readonly perSecond: number
  /** Microseconds. */
  readonly p50: number
  readonly p99: number
  /** Processor time of the server for one read, microseconds. */
  readonly processor: number
}

interface FioReport {
  readonly jobs: readonly {
    readonly read: {
      readonly iops: number
      readonly clat_ns: { readonly percentile: Readonly<Record<string, number>> }
    }
  }[]
}

/** Reads at random with fio. */
export async function readAtRandom(
  server: Server,
  { blockSize, depth, jobCount = 1, seconds, size }: Load
): Promise<Rate> {
  const before = processorTimeOf(server)
  const child = spawn(
    'fio',
    [
      '--name=x',
      '--ioengine=nbd',
      `--uri=${server.uri}`,
      '--rw=randread',
      `--bs=${blockSize}`,
      `--iodepth=${depth}`,
      `--numjobs=${jobCount}`,
      '--group_reporting',
      `--size=${size - (size % blockSize)}`,
      '--time_based',
      `--runtime=${seconds}`,
      '--output-format=json'
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] }
  )
  let text = ''
  child.stdout.on('data', (piece: Buffer) => (text += piece.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`fio ended with ${code ?? 'a signal'}: ${text}`)
  const read = (JSON.parse(text.slice(text.indexOf('{'))) as FioReport).jobs[0]?.read
  if (read === undefined) throw new Error('fio reported nothing')
  const at = (rank: string): number => (read.clat_ns.percentile[rank] ?? 0) / 1000
  return {
    perSecond: read.iops,
    p50: at('50.000000'),
    p99: at('99.000000'),
    processor: ((processorTimeOf(server) - before) / (read.iops * seconds)) * 1e6
  }
}

/** Reads everything from front to back with nbdcopy, holes too; MB a second. */
export async function readAll({ uri }: Server, size: number): Promise<number> {
  const start = performance.now()
  const child = spawn('nbdcopy', ['--no-extents', uri, 'null:'], { stdio: 'ignore' })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`nbdcopy ended with ${code ?? 'a signal'}`)
  return size / 1e6 / ((performance.now() - start) / 1000)
}

export function mustHave(...programs: readonly string[]): void {
  const missing = programs.filter((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0)
  if (missing.length > 0) throw new Error(`not installed: ${missing.join(', ')}`)
}

export function runToEnd(command: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
}
