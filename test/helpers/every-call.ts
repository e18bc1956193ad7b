import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { judge, listRuns, prepare, surroundings, type FaultCase, type Verdicts } from './faults.js'
import { eachOf, runCli, scratch } from './run-cli.js'

/**
 * Each call to the system that a command makes for its files fails in turn, as in SQLite's tests: with an error, by doing half
 * of what it was asked for, or with the disk gone from there on. Whatever fails, nothing false may look
 * finished, what was there before must be as it was, and the error must be named.
 */

/** Of the test file. */
const counts = { failed: 0, falseSuccesses: 0 }

/** What is the same for every run of a case: where it runs, and what it may be judged by. */
async function runClean(
  t: Test,
  one: FaultCase,
  { folder, shim }: Faults
): Promise<{ env: Record<string, string>; work: string; result: Buffer; calls: readonly string[] }> {
  const slug = one.name.replaceAll(/\W+/g, '-')
  const work = join(folder, slug)
  const log = join(folder, `${slug}.log`)
  const env = { UV_USE_IO_URING: '0', LD_PRELOAD: shim, FAULT_PATH: work, FAULT_LOG: log, TMPDIR: work }
  prepare(one, work)
  const clean = await runCli(one.args, {
    cwd: work,
    env,
    ...(one.stdin === undefined ? {} : { stdin: one.stdin })
  })
  const { left, found = Buffer.alloc(0) } = surroundings(one, work)
  t.strictSame([clean.code, left], [0, []], `${one.name}: without a fault`)
  if (one.result !== undefined) t.ok(found.equals(one.result), `${one.name}: the right bytes`)
  return { env, work, result: found, calls: readFileSync(log, 'utf8').trim().split('\n') }
}

function count(t: Test, name: string, { failed, falseSuccesses, bad }: Verdicts): void {
  counts.failed += failed
  counts.falseSuccesses += falseSuccesses
  t.ok(failed > 0, `${name}: ${failed} faults`)
  t.strictSame(bad, [], `${name}: what is wrong`)
}

/** Each fault of each call, all in one process: a start of hexz takes ten times as long as what it does here. */
export async function failsEverywhere(t: Test, one: FaultCase, faults: Faults): Promise<void> {
  const { env, work, result } = await runClean(t, one, faults)
  const files = Object.entries(one.files).map(([name, bytes]) => [
    name,
    Buffer.from(bytes).toString('base64')
  ])
  const order = { ...one, files, work, result: result.toString('base64') }
  const [asked, answered] = [`${work}.order`, `${work}.answer`]
  writeFileSync(asked, JSON.stringify(order))
  const runner = fileURLToPath(new URL('../faults/every-call-runner.js', import.meta.url))
  const ended = spawnSync(process.execPath, [runner, asked, answered], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 120_000
  })
  t.strictSame([ended.status, ended.signal], [0, null], `${one.name}: ${ended.stderr.slice(-2000)}`)
  count(t, one.name, JSON.parse(readFileSync(answered, 'utf8')) as Verdicts)
}

/** The first call of each kind, each in a process of its own: its exit code, its one line and its clearing up. */
export async function failsAsProcess(t: Test, one: FaultCase, faults: Faults): Promise<void> {
  const { env, work, result, calls } = await runClean(t, one, faults)
  const runs = listRuns(calls).filter(({ call }, i, all) => all.findIndex((run) => run.call === call) === i)
  const verdicts = { failed: 0, falseSuccesses: 0, bad: [] as string[] }
  await eachOf(runs, async (run) => {
    const folder = join(work, run.call)
    prepare(one, folder)
    const outcome = await runCli(one.args, {
      cwd: folder,
      env: { ...env, FAULT: `${run.number}:${run.fault}`, FAULT_PATH: folder, TMPDIR: folder },
      ...(one.stdin === undefined ? {} : { stdin: one.stdin })
    })
    judge(one, run, { ...outcome, ...surroundings(one, folder) }, result, verdicts)
  })
  count(t, `${one.name}, as a process`, verdicts)
}

/** Says how many calls failed. */
export function tellCounts(t: Test): void {
  process.stderr.write(`every call: ${counts.failed} faults, ${counts.falseSuccesses} false successes\n`)
  t.equal(counts.falseSuccesses, 0)
}

export interface Faults {
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
