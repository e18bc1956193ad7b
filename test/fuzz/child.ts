import { openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createInputs, type Inputs } from './inputs.js'
import type { Keep } from './target.js'

/*
 * The process that inputs are run in. It writes the number of each into a file before it begins, because an input
 * may hang it or end it; findings go to the parent as messages.
 */

export interface ChildOptions {
  readonly seed: number
  readonly only?: string | undefined
  readonly first: number
  /** From one number to the next. */
  readonly stride: number
  /** No number from here on. */
  readonly end: number
  /** Time of day, ms. */
  readonly until: number
  readonly statusPath: string
  /** For the only input of a run that looks at one: where its bytes go, and what else is told of it. */
  readonly examine?: { readonly path: string; readonly signature?: string | undefined } | undefined
}

export interface Finding {
  readonly number: number
  readonly target: string
  readonly kind: string
  readonly detail: string
  readonly story: readonly string[]
}

/** Growth of the process while one input is in work. */
const growthMax = 300 * 2 ** 20

/** Findings of one signature are taken for the same fault. */
export const signatureOf = ({ target, kind }: Pick<Finding, 'target' | 'kind'>): string =>
  `${target}: ${kind}`

/** Resident now and at most since the last call; bytes. Only Linux tells what was at most. */
function memory(): { now: number; peak: number } {
  const status = readFileSync('/proc/self/status', 'latin1')
  const field = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) * 1024
  return { now: field('VmRSS'), peak: field('VmHWM') }
}
function forgetPeak(): void {
  writeFileSync('/proc/self/clear_refs', '5')
}

/** Runs one input, and gives what was wrong. */
async function runOne(inputs: Inputs, number: number, keep?: Keep): Promise<Finding[]> {
  const input = await inputs.make(number, keep)
  const target = inputs.targetOf(number).name
  const findings: Finding[] = []
  const report = (kind: string, detail: string): void =>
    void findings.push({ number, target, kind, detail, story: input.story })
  const onStray = (error: unknown): void => report('error that nobody waits for', String(error))
  process.on('unhandledRejection', onStray).on('uncaughtException', onStray)
  const isLinux = process.platform === 'linux'
  if (isLinux) forgetPeak()
  const before = isLinux ? memory().now : process.memoryUsage.rss()
  const rest = await input.check(report)
  const peak = isLinux ? memory().peak : process.memoryUsage.rss()
  if (peak - before > growthMax) report('memory', `${Math.round((peak - before) / 2 ** 20)} MiB more`)
  rest?.()
  await nextTurn()
  process.off('unhandledRejection', onStray).off('uncaughtException', onStray)
  return findings
}

/** Leaves out each step that the finding does not need. Gives the numbers of those that it does not. */
async function shrink(inputs: Inputs, number: number, signature: string): Promise<Set<number>> {
  const dropped = new Set<number>()
  for (let step = 0; step < 12; step++) {
    dropped.add(step)
    const found = await runOne(inputs, number, (one) => !dropped.has(one))
    if (!found.some((finding) => signatureOf(finding) === signature)) dropped.delete(step)
  }
  return dropped
}

/** Always of the same size, so that it is replaced whole. */
const statusText = (word: 'at' | 'done', number: number): string => `${word} ${number}`.padEnd(24)

const garbageEvery = 64

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? '{}') as ChildOptions
  const { seed, only, first, stride, end, until, examine } = options
  const status = openSync(options.statusPath, 'w')
  const inputs = await createInputs(seed, only)
  let count = 0
  let last = first
  for (let number = first; number < end && Date.now() < until; number += stride) {
    writeSync(status, statusText('at', number), 0)
    last = number
    if (examine !== undefined) writeFileSync(examine.path, (await inputs.make(number)).bytes)
    for (const finding of await runOne(inputs, number)) process.send?.(finding)
    if (examine?.signature !== undefined) {
      const dropped = await shrink(inputs, number, examine.signature)
      const keep: Keep = (step) => !dropped.has(step)
      writeFileSync(examine.path, (await inputs.make(number, keep)).bytes)
      for (const finding of await runOne(inputs, number, keep)) process.send?.(finding)
    }
    if (++count % garbageEvery === 0) globalThis.gc?.()
  }
  writeSync(status, statusText('done', last), 0)
  await inputs.close()
  process.disconnect()
}

if (process.argv[1]?.endsWith('child.js') === true) await main()
