import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'

/** What is made to fail, and what is wrong afterwards; for every-call.ts. */

const { EIO, EINTR, EMFILE, ENOSPC } = constants.errno

/** What each call is made to do. */
const faults: Readonly<Record<string, readonly string[]>> = {
  stat: [`${EIO}`],
  open: [`${EIO}`, `${EMFILE}`],
  read: [`${EIO}`, 'short', `${EINTR}`],
  write: [`${ENOSPC}`, 'short', `${EIO}:+`, `${EINTR}`],
  sync: [`${EIO}`, `${EIO}:+`],
  truncate: [`${ENOSPC}`],
  close: [`${EIO}`],
  rename: [`${EIO}`],
  unlink: [`${EIO}`],
  chmod: [`${EIO}`]
}

export interface FaultCase {
  readonly name: string
  readonly args: readonly string[]
  /** Files that are there before. */
  readonly files: Readonly<Record<string, Uint8Array>>
  readonly stdin?: Uint8Array
  readonly target: string
  /** What it is to hold, where that is known. */
  readonly result?: Uint8Array
  /** In place: the target may be partly new when it says so, or hold the result when a sync failed. */
  readonly inPlace?: boolean
}

export interface Run {
  readonly call: string
  /** Of the call, from 1. */
  readonly number: number
  readonly fault: string
}

export function listRuns(calls: readonly string[]): Run[] {
  return calls.flatMap((call, i) => (faults[call] ?? []).map((fault) => ({ call, number: i + 1, fault })))
}

/** An empty folder with the files of a case. */
export function prepare(one: FaultCase, folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [name, bytes] of Object.entries(one.files)) writeFileSync(join(folder, name), bytes)
}

export interface Surroundings {
  readonly found: Buffer | undefined
  /** What should not be there. */
  readonly left: readonly string[]
  readonly isSpoiled: boolean
}

export function surroundings(one: FaultCase, folder: string): Surroundings {
  const target = join(folder, one.target)
  return {
    found: existsSync(target) ? readFileSync(target) : undefined,
    left: readdirSync(folder).filter((name) => name !== one.target && !(name in one.files)),
    isSpoiled: Object.entries(one.files).some(
      ([name, bytes]) => name !== one.target && !readFileSync(join(folder, name)).equals(bytes)
    )
  }
}

export interface Outcome extends Surroundings {
  readonly code: number | null
  readonly signal: string | null
  readonly stderr: string
}

export interface Verdicts {
  failed: number
  falseSuccesses: number
  bad: string[]
}

/** Adds what is wrong with an outcome to the verdicts; `result` is what the target holds without a fault. */
export function judge(one: FaultCase, run: Run, outcome: Outcome, result: Buffer, verdicts: Verdicts): void {
  const { call, number, fault } = run
  const { code, stderr } = outcome
  const wrong = faultsOf(one, run, outcome, result)
  verdicts.failed += 1
  if (wrong.includes('a false success')) verdicts.falseSuccesses += 1
  if (wrong.length > 0)
    verdicts.bad.push(`call ${number}, ${call}, fault ${fault}: ${wrong.join('; ')}: exit ${code} ${stderr}`)
}

function faultsOf(one: FaultCase, { call, fault }: Run, outcome: Outcome, result: Buffer): string[] {
  const { code, signal, stderr, found, left, isSpoiled } = outcome
  const old = one.files[one.target]
  const isNew = found?.equals(result) === true
  const isOld = old === undefined ? found === undefined : found?.equals(old) === true
  const wrong: string[] = []
  const mayLeave = call === 'unlink' || fault.endsWith('+')
  if (isSpoiled) wrong.push('another file was changed')
  if (left.length > 0 && !mayLeave) wrong.push(`left: ${left.join(', ')}`)
  if (signal !== null) wrong.push(`killed by ${signal}`)
  if (code === 0) return isNew ? wrong : [...wrong, 'a false success']
  if (code !== 3 && code !== 4) wrong.push(`exit code ${code}`)
  if (!/^hexz: [^\n]+\n$/.test(stderr) || /internal error|bug of hexz/.test(stderr))
    wrong.push('no named error')
  if (isOld) return wrong
  const isTold = isNew
    ? one.inPlace === true || stderr.includes('is there and whole')
    : stderr.includes('partly old and partly new')
  return isTold && (isNew || one.inPlace === true)
    ? wrong
    : [...wrong, 'the target is neither as before nor told of']
}
