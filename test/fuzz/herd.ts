import { fork } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ChildOptions, Finding } from './child.js'

/** What one child is to do: from `first` on, each `stride`th number. */
export type Work = Omit<ChildOptions, 'statusPath'>

export interface WorkResult {
  /** How many inputs were run. */
  readonly count: number
  /** What the child wrote to its standard error. */
  readonly noise: string
}

const childPath = join(import.meta.dirname, 'child.js')
const pollMs = 200
/** Modules are loaded and samples made. */
const startMs = 60_000

/**
 * Runs inputs in child processes, one after another: a child that hangs or dies makes a finding, and the next one goes on
 * behind that input.
 *
 * @param limitMs what one input may take
 */
export async function runWork(
  work: Work,
  limitMs: number,
  onFinding: (finding: Finding) => void
): Promise<WorkResult> {
  let { first } = work
  let count = 0
  let noise = ''
  while (first < work.end && Date.now() < work.until) {
    const { reached, end, stderr } = await runChild({ ...work, first }, limitMs, onFinding)
    noise += stderr
    const last = reached ?? first - work.stride
    count += Math.floor((last - first) / work.stride) + 1
    if (end === 'done') break
    if (reached === undefined) throw new Error(`the child did not start: ${end}\n${stderr}`)
    const kind = end === 'hang' ? 'hang' : 'crash'
    const detail =
      end === 'hang' ? `more than ${limitMs / 1000} s` : `${end} ${stderr.trim().split('\n')[0] ?? ''}`
    onFinding({ number: reached, target: work.only ?? '', kind, detail, story: [] })
    first = reached + work.stride
  }
  return { count, noise }
}

interface ChildEnd {
  /** Number of the last input that was begun. */
  readonly reached: number | undefined
  /** `done`, `hang`, or how the process ended. */
  readonly end: string
  readonly stderr: string
}

function runChild(work: Work, limitMs: number, onFinding: (finding: Finding) => void): Promise<ChildEnd> {
  const folder = mkdtempSync(join(tmpdir(), 'hexz-fuzz-'))
  const statusPath = join(folder, 'status')
  const readStatus = (): string => {
    try {
      return readFileSync(statusPath, 'latin1').trim()
    } catch {
      return ''
    }
  }
  const child = fork(childPath, [JSON.stringify({ ...work, statusPath })], {
    execArgv: ['--expose-gc', '--enable-source-maps=false'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc']
  })
  let stderr = ''
  child.stderr?.on('data', (bytes: Buffer) => (stderr = (stderr + bytes.toString()).slice(-4000)))
  child.on('message', (message) => onFinding(message as Finding))
  let [status, since, isHung] = ['', performance.now(), false]
  const look = (): void => {
    const found = readStatus()
    if (found !== status) [status, since] = [found, performance.now()]
    if (performance.now() - since < (status === '' ? startMs : limitMs)) return
    isHung = true
    child.kill('SIGKILL')
  }
  const timer = setInterval(look, pollMs)
  return new Promise((resolve) => {
    child.once('close', (code, signal) => {
      clearInterval(timer)
      const [word, number] = readStatus().split(' ')
      rmSync(folder, { recursive: true, force: true })
      const reached = number === undefined ? undefined : Number(number)
      const end = word === 'done' ? 'done' : isHung ? 'hang' : (signal ?? `exit ${code ?? -1}`)
      resolve({ reached, end, stderr })
    })
  })
}
