import { mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { signatureOf, type Finding } from './child.js'
import { runWork, type Work } from './herd.js'
import { createInputs } from './inputs.js'

/*
 * `npm run fuzz -- --seconds N --seed S [--only TARGET] [--input NUMBER]`: gives the readers and servers inputs that are
 * damaged or forged, and holds what they do against what must be. Exit code 1 when something is wrong.
 */

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '30' },
    seed: { type: 'string' },
    only: { type: 'string' },
    input: { type: 'string' },
    /** Inputs; default as many as there is time for. */
    count: { type: 'string' },
    jobs: { type: 'string' },
    /** What one input may take, in seconds. */
    limit: { type: 'string', default: '10' },
    /** Where inputs of findings are put. */
    out: { type: 'string', default: '.cache/fuzz' }
  }
})
const print = (line: string): void => void process.stdout.write(`${line}\n`)
function wholeNumber(text: string, name: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} ${text} is not a whole number`)
  return value
}

const seed =
  values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : wholeNumber(values.seed, 'seed')
const limitMs = wholeNumber(values.limit, 'limit') * 1000
const jobs =
  values.jobs === undefined ? Math.min(2, availableParallelism()) : wholeNumber(values.jobs, 'jobs')
const { only, out } = values
const inputs = await createInputs(seed, only)

const command = (number: number): string =>
  `npm run fuzz -- --seed ${seed}${only === undefined ? '' : ` --only ${only}`} --input ${number}`

/** A child that dies cannot name its target. */
const named = (finding: Finding): Finding => ({ ...finding, target: inputs.targetOf(finding.number).name })

interface Seen {
  readonly first: Finding
  count: number
}
const seen = new Map<string, Seen>()
function note(raw: Finding): void {
  const finding = named(raw)
  const signature = signatureOf(finding)
  const known = seen.get(signature)
  if (known !== undefined) known.count += 1
  else {
    seen.set(signature, { first: finding, count: 1 })
    print(`found: ${signature}\n  ${command(finding.number)}`)
  }
}

/** Runs the input of a finding again in a process of its own, and with fewer steps. `undefined` when nothing is wrong then. */
async function examine(signature: string, { first }: Seen): Promise<Finding | undefined> {
  mkdirSync(out, { recursive: true })
  const path = join(
    out,
    `${seed}-${first.target}-${first.number}.${first.target === 'snapshot' ? 'st' : 'bin'}`
  )
  const isFatal = first.kind === 'hang' || first.kind === 'crash'
  let last: Finding | undefined
  const keep = (finding: Finding): void => {
    const one = named(finding)
    if (signatureOf(one) === signature) last = one
  }
  const work = { ...single(first.number), examine: { path, signature: isFatal ? undefined : signature } }
  await runWork(work, isFatal ? limitMs : 12 * limitMs, keep)
  if (last === undefined) return undefined
  const { story } = isFatal ? await inputs.make(first.number) : last
  const text = [signature, last.detail, command(first.number), ...story]
  writeFileSync(`${path}.txt`, `${text.join('\n')}\n`)
  return { ...last, story }
}

const single = (number: number): Work => ({
  seed,
  only,
  first: number,
  stride: 1,
  end: number + 1,
  until: Number.MAX_SAFE_INTEGER
})

async function showOne(number: number): Promise<void> {
  const { story, bytes } = await inputs.make(number)
  print(
    `input ${number} of seed ${seed}, for ${inputs.targetOf(number).name}, ${bytes.length} bytes: ${story.join('; ')}`
  )
  await runWork(single(number), limitMs, note)
  for (const [signature, { first }] of seen) print(`${signature}\n  ${first.detail}`)
}

async function runAll(): Promise<void> {
  const start = Date.now()
  const seconds = wholeNumber(values.seconds, 'seconds')
  const end = values.count === undefined ? Number.MAX_SAFE_INTEGER : wholeNumber(values.count, 'count')
  const until = values.count === undefined ? start + seconds * 1000 : Number.MAX_SAFE_INTEGER
  print(`seed ${seed}`)
  const results = await Promise.all(
    Array.from({ length: jobs }, (_, first) =>
      runWork({ seed, only, first, stride: jobs, end, until }, limitMs, note)
    )
  )
  const counts = new Map<string, number>()
  for (const [first, { count }] of results.entries())
    for (let i = 0; i < count; i++) {
      const { name } = inputs.targetOf(first + i * jobs)
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
  const total = results.reduce((sum, { count }) => sum + count, 0)
  const each = [...counts].map(([name, count]) => `${name} ${count}`).join(', ')
  print(`${total} inputs in ${Math.round((Date.now() - start) / 1000)} s: ${each}`)
}

if (values.input !== undefined) await showOne(wholeNumber(values.input, 'input'))
else {
  await runAll()
  for (const [signature, one] of seen) {
    const finding = await examine(signature, one)
    if (finding === undefined) {
      print(`\nnot seen again, alone: ${signature}, ${one.count} times`)
      continue
    }
    print(`\n${finding.target}: ${finding.kind}, ${one.count} times\n  ${finding.detail}`)
    for (const step of finding.story) print(`  - ${step}`)
    print(`  ${command(finding.number)}`)
  }
}
print(seen.size === 0 ? 'nothing found' : `${seen.size} kinds of findings; inputs are in ${out}`)
await inputs.close()
process.exitCode = seen.size === 0 ? 0 : 1
