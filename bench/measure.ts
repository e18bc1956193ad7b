import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'

/** One command, once. Seconds and MiB. */
export interface Measurement {
  readonly wall: number
  /** User and system time of the command and all it started. */
  readonly cpu: number
  /** Peak resident memory of its largest process, looked at every 20 ms. */
  readonly peak: number
}

export type Environment = Readonly<Record<string, string>>

/** Runs a line of bash. @throws Error when it fails, with what it said */
export function runLine(line: string, env: Environment): void {
  const { status, stderr } = spawnSync('bash', ['-c', line], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
    maxBuffer: 2 ** 26
  })
  if (status !== 0)
    throw new Error(`${line}\nended with ${status ?? 'a signal'}: ${stderr.toString().trim()}`)
}

/** Runs a line of bash and measures it by the shell's own clock of it and its children. */
export async function measure(line: string, env: Environment): Promise<Measurement> {
  const script = `TIMEFORMAT='%R %U %S'; { time { ${line} ; } 2>&3 ; } 3>/dev/null 2>&4`
  const child = spawn('bash', ['-c', script], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe', 'ignore', 'pipe']
  })
  let times = ''
  child.stdio[4]?.on('data', (text: Buffer) => (times += text.toString()))
  let peak = 0
  const sample = setInterval(() => (peak = Math.max(peak, peakOfTree(child.pid ?? 0))), 20)
  const [code] = (await once(child, 'close')) as [number | null]
  clearInterval(sample)
  if (code !== 0) throw new Error(`${line}\nended with ${code ?? 'a signal'}`)
  const [wall = 0, user = 0, system = 0] = times.trim().split(' ').map(Number)
  return { wall, cpu: user + system, peak }
}

/** The largest peak among a process and its descendants; 0 where the system does not tell. */
function peakOfTree(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const own = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    return Math.max(own, ...(children === '' ? [] : children.split(' ').map((id) => peakOfTree(Number(id)))))
  } catch {
    return 0 // ended between two looks
  }
}

/** First line a program says of its version; `undefined` when it is not installed. */
export function versionOf(program: string): string | undefined {
  const flags: Readonly<Record<string, string>> = {
    mksquashfs: '-version',
    unsquashfs: '-version',
    restic: 'version'
  }
  const { stdout, stderr, error } = spawnSync(program, [flags[program] ?? '--version'])
  if (error !== undefined) return undefined
  return (stdout.toString() + stderr.toString()).trim().split('\n')[0] ?? ''
}

/** Smallest, middle and largest. */
export function spread(values: readonly number[]): { min: number; median: number; max: number } {
  const ranked = [...values].sort((a, b) => a - b)
  const at = (rank: number): number => ranked[rank] ?? NaN
  const middle = (ranked.length - 1) / 2
  return {
    min: at(0),
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    max: at(ranked.length - 1)
  }
}
