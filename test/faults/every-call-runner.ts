import { openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { judge, listRuns, prepare, surroundings, type FaultCase, type Run } from '../helpers/faults.js'
import type { CliResult } from '../helpers/run-cli.js'
import { runHere } from '../helpers/run-here.js'

/**
 * Runs one command again and again in this process, each time with another fault, under the shim. Called as
 * `every-call-runner.js ORDER ANSWER`, two files of JSON.
 */
const [, , orderPath = '', answerPath = ''] = process.argv
const order = JSON.parse(readFileSync(orderPath, 'utf8')) as Omit<FaultCase, 'files' | 'result'> & {
  readonly files: readonly (readonly [name: string, base64: string])[]
  readonly result: string
  readonly work: string
}
const one: FaultCase = {
  ...order,
  files: Object.fromEntries(order.files.map(([name, base64]) => [name, Buffer.from(base64, 'base64')])),
  result: Buffer.from(order.result, 'base64')
}
const { work } = order
const result = Buffer.from(order.result, 'base64')

/** Tells the shim by opening a file that is not there; see there. */
function ask(fault: string): void {
  try {
    openSync(`/fault/${fault}`, 'r')
  } catch {
    // It never opens. Without the shim no call is logged, and there is nothing to run.
  }
}

async function runWith(fault: string): Promise<CliResult> {
  prepare(one, work)
  ask(fault)
  const ended = await runHere(one.args, { cwd: work })
  ask('')
  return ended
}

/** Counts, and fails no call. */
const noFault = '0:0'
await runWith(noFault) // what is loaded once is loaded now
const log = process.env.FAULT_LOG ?? ''
rmSync(log, { force: true })
await runWith(noFault)
const runs: Run[] = listRuns(readFileSync(log, 'utf8').trim().split('\n'))
const verdicts = { failed: 0, falseSuccesses: 0, bad: [] as string[] }
for (const each of runs) {
  const ended = await runWith(`${each.number}:${each.fault}`)
  judge(one, each, { ...ended, ...surroundings(one, work) }, result, verdicts)
}
writeFileSync(answerPath, JSON.stringify(verdicts))
process.exit()
