import { spawnSync } from 'node:child_process'
import { constants } from 'node:os'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { eachOf, runCli, scratch, type CliResult } from './run-cli.js'

/**
 * Each call to the system that a command makes for its files fails in turn, as in SQLite's tests: with an error, by doing half
 * of what it was asked for, or with the disk gone from there on. Whatever fails, nothing false may look
 * finished, what was there before must be as it was, and the error must be named.
 */

const { EIO, EINTR, EMFILE, ENOSPC } = constants.errno

/** What each call is made to do; of a list, the calls of a command take turns. */
const faults: Readonly<Record<string, readonly (string | readonly string[])[]>> = {
  stat: [`${EIO}`],
  open: [[`${EIO}`, `${EMFILE}`]],
  read: [`${EIO}`, ['short', `${EINTR}`]],
  write: [`${ENOSPC}`, ['short', `${EIO}:+`, `${EINTR}`]],
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
  /** Not failed again: another case makes the same ones. */
  readonly sparedCall?: string
  /** In place: the target may be partly new when it says so, or hold the result when a sync failed. */
  readonly inPlace?: boolean
}

interface Outcome extends CliResult {
  readonly found: Buffer | undefined
  /** What should not be there. */
  readonly left: readonly string[]
  readonly isSpoiled: boolean
}

async function runOnce(
  one: FaultCase,
  folder: string,
  env: Readonly<Record<string, string>>
): Promise<Outcome> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
  for (const [name, bytes] of Object.entries(one.files)) writeFileSync(join(folder, name), bytes)
  const result = await runCli(one.args, {
    cwd: folder,
    env: { UV_USE_IO_URING: '0', FAULT_PATH: folder, TMPDIR: folder, ...env },
    ...(one.stdin === undefined ? {} : { stdin: one.stdin })
  })
  const target = join(folder, one.target)
  const outcome = {
    ...result,
    found: existsSync(target) ? readFileSync(target) : undefined,
    left: readdirSync(folder).filter((name) => name !== one.target && !(name in one.files)),
    isSpoiled: Object.entries(one.files).some(
      ([name, bytes]) => name !== one.target && !readFileSync(join(folder, name)).equals(bytes)
    )
  }
  rmSync(folder, { recursive: true })
  return outcome
}

/** Of the test file. */
const counts = { failed: 0, falseSuccesses: 0 }

/** What is wrong with an outcome; nothing when all is well. */
function judge(one: FaultCase, call: string, fault: string, outcome: Outcome, result: Buffer): string[] {
  const { code, signal, stderr, found, left, isSpoiled } = outcome
  const old = one.files[one.target]
  const isNew = found?.equals(result) === true
  const isOld = old === undefined ? found === undefined : found?.equals(old) === true
  const wrong: string[] = []
  const mayLeave = call === 'unlink' || fault.endsWith('+')
  if (isSpoiled) wrong.push('another file was changed')
  if (left.length > 0 && !mayLeave) wrong.push(`left: ${left.join(', ')}`)
  if (signal !== null) wrong.push(`killed by ${signal}`)
  if (code === 0) {
    if (!isNew) counts.falseSuccesses += 1
    return isNew ? wrong : [...wrong, 'a false success']
  }
  if (code !== 3 && code !== 4 && !(code === 8 && fault === `${EMFILE}`)) wrong.push(`exit code ${code}`)
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

function listRuns(calls: readonly string[]): { call: string; number: number; fault: string }[] {
  return calls.flatMap((call, i) =>
    (faults[call] ?? []).map((fault) => {
      const chosen = typeof fault === 'string' ? fault : fault[i % fault.length]
      return { call, number: i + 1, fault: chosen ?? '' }
    })
  )
}

/** Runs a command once without a fault, and then once for each fault of each of its calls. */
export async function failsEverywhere(t: Test, one: FaultCase, { folder, shim }: Faults): Promise<void> {
  const slug = one.name.replaceAll(/\W+/g, '-')
  const log = join(folder, `${slug}.log`)
  const clean = await runOnce(one, join(folder, slug), { LD_PRELOAD: shim, FAULT_LOG: log })
  t.strictSame([clean.code, clean.left], [0, []], `${one.name}: without a fault`)
  const result = clean.found ?? Buffer.alloc(0)
  if (one.result !== undefined) t.ok(result.equals(one.result), `${one.name}: the right bytes`)
  const calls = readFileSync(log, 'utf8').trim().split('\n')
  const runs = listRuns(calls).filter(({ call }) => call !== one.sparedCall)
  const bad: string[] = []
  await eachOf(runs, async ({ call, number, fault }) => {
    const name = `${slug}-${number}-${fault.replaceAll(/\W/g, '_')}`
    const outcome = await runOnce(one, join(folder, name), { LD_PRELOAD: shim, FAULT: `${number}:${fault}` })
    counts.failed += 1
    const wrong = judge(one, call, fault, outcome, result)
    if (wrong.length > 0)
      bad.push(
        `call ${number}, ${call}, fault ${fault}: ${wrong.join('; ')}: exit ${outcome.code} ${outcome.stderr}`
      )
  })
  t.strictSame(bad, [], `${one.name}: each of ${calls.length} calls (${runs.length} runs)`)
}

/** Says how many calls failed. */
export function tellCounts(t: Test): void {
  process.stderr.write(`every call: ${counts.failed} faults, ${counts.falseSuccesses} false successes\n`)
  t.equal(counts.falseSuccesses, 0)
}

interface Faults {
  readonly folder: string
  readonly shim: string
}

/** Compiles what makes calls fail; `undefined` where it can't be. */
export function makeFaults(t: Test): Faults | undefined {
  const folder = scratch(t)
  const shim = join(folder, 'shim.so')
  const source = join(process.cwd(), 'test', 'faults', 'fault-shim.c')
  const args = ['-shared', '-fPIC', '-O1', '-o', shim, source, '-ldl']
  return process.platform === 'linux' && spawnSync('cc', args).status === 0 ? { folder, shim } : undefined
}

export const noFaults = 'needs Linux and a C compiler'
