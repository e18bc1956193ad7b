import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { build, openSnapshot } from '../../lib/index.js'
import { cheapScrypt } from '../crypto/sealed.js'
import { createRandom, mixedBytes } from '../helpers/data.js'
import { runCli, startCli } from '../helpers/run-cli.js'

/**
 * Kills hexz at random moments over a run's whole length, and looks at what is left: `npm run kills -- --count 300
 * --seed 1`. A target must be the old one, the new one or none; a snapshot whose keys were being changed must open;
 * and the same command, run again, must succeed. The seed gives the signals, and the moments as shares of a run.
 */

const signals = ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const

export interface Kills {
  readonly count: number
  /** Runs that had succeeded before their signal came. */
  readonly lateCount: number
  /** Targets that look finished and are not right. */
  readonly wrong: readonly string[]
  /** Snapshots that do not open any more. */
  readonly unusable: readonly string[]
  /** Second runs that failed. */
  readonly failed: readonly string[]
}

/** A command, and what may be left of it. */
interface Operation {
  readonly words: string
  /** The same for a second run. */
  readonly again: string
  /** Puts everything as it was. */
  readonly prepare: () => void
  /** Whether what is there is one of the two: as it was, and as it should become. */
  readonly state: () => Promise<'before' | 'after' | 'other'>
  /** Whether another state is allowed while it is changed where it lies. */
  readonly isMixing?: true
  /** Whether another state is a snapshot that does not open, rather than a wrong target. */
  readonly isKeyed?: true
}

/** Kills, one after another, in an empty folder. */
export async function kill(folder: string, count: number, seed: number): Promise<Kills> {
  const random = createRandom(seed)
  const operations = await prepareAll(folder)
  const lengths: number[] = []
  for (const { words, prepare, state } of operations) {
    let length = Infinity
    for (let i = 0; i < 2; i++) {
      prepare()
      const start = performance.now()
      const { stderr } = await runCli(words.split(' '), { cwd: folder })
      length = Math.min(length, performance.now() - start)
      if ((await state()) !== 'after') throw new Error(`hexz ${words} fails where nobody kills it: ${stderr}`)
    }
    lengths.push(length)
  }

  const lists = { wrong: [] as string[], unusable: [] as string[], failed: [] as string[] }
  let lateCount = 0
  for (let i = 0; i < count; i++) {
    const number = i % operations.length
    const operation = operations[number]
    const signal = signals[random.below(signals.length)] ?? 'SIGKILL'
    const share = random.below(1000) / 1000
    if (operation === undefined) break
    const { words, again, prepare, state, isMixing, isKeyed } = operation
    const told = (what: string): string => `kill ${i}, ${signal} at ${share} of hexz ${words}: ${what}`
    const bad = isKeyed === true ? lists.unusable : lists.wrong

    prepare()
    const child = startCli(words.split(' '), { cwd: folder, stdio: 'ignore' })
    const timer = setTimeout(() => child.kill(signal), share * (lengths[number] ?? 0))
    const [code] = (await once(child, 'exit')) as [number | null]
    clearTimeout(timer)
    const left = await state()
    if (code === 0) lateCount += 1
    if (code === 0 ? left !== 'after' : left === 'other' && isMixing !== true)
      bad.push(told(`exit ${code ?? 'by the signal'}, and what is left is ${left}`))

    if (isKeyed === true && left === 'after') continue // there is nothing to be done again
    const second = await runCli(again.split(' '), { cwd: folder })
    const then = await state()
    if (second.code !== 0)
      lists.failed.push(
        told(`run again, ended with ${second.code ?? second.signal}: ${second.stderr.trim()}`)
      )
    else if (then !== 'after') bad.push(told(`run again, what is left is ${then}`))
    const partial = readdirSync(folder).filter((name) => name.endsWith('.partial'))
    if (partial.length > 0) bad.push(told(`run again, ${partial.join()} is left`))
  }
  return { count, lateCount, ...lists }
}

/** Makes the files, and gives what can be done with them. */
async function prepareAll(folder: string): Promise<readonly Operation[]> {
  const at = (name: string): string => join(folder, name)
  const disk = mixedBytes(6_000_000, 1)
  const old = mixedBytes(6_000_000, 2)
  writeFileSync(at('disk.img'), disk)
  writeFileSync(at('old'), old)
  writeFileSync(at('one'), 'one\n')
  writeFileSync(at('two'), 'two\n')
  const source = at('disk.img')
  await build({ source, target: at('a.st'), concurrency: 1 })
  await build({
    source,
    target: at('one.st'),
    concurrency: 1,
    locks: { passphrase: 'one', scrypt: cheapScrypt }
  })
  copyFileSync(at('one.st'), at('both.st'))
  const added = await runCli('key add both.st --passphrase-file one --new-passphrase-file two'.split(' '), {
    cwd: folder
  })
  if (added.code !== 0) throw new Error(added.stderr)
  const snapshot = readFileSync(at('a.st'))

  const remove = (name: string) => () => {
    rmSync(at(name), { force: true })
    rmSync(at(`${name}.partial`), { force: true })
  }
  const put = (from: string, name: string) => () => {
    remove(name)()
    copyFileSync(at(from), at(name))
  }
  /** @param before what was there, if anything */
  const holds =
    (name: string, before: Buffer | undefined, after: Buffer) =>
    (): Promise<'before' | 'after' | 'other'> => {
      const found = existsSync(at(name)) ? readFileSync(at(name)) : undefined
      if (found?.equals(after) === true) return Promise.resolve('after')
      const isBefore = found === undefined || before === undefined ? found === before : found.equals(before)
      return Promise.resolve(isBefore ? 'before' : 'other')
    }
  /** Whether a passphrase opens it, and the bytes are right. */
  const opens = async (name: string, passphrase: string): Promise<boolean> => {
    const snapshot = await openSnapshot(at(name), { passphrase }).catch(() => undefined)
    if (snapshot === undefined) return false
    try {
      return (await snapshot.read('disk', 0, disk.length)).equals(disk)
    } finally {
      await snapshot.close()
    }
  }
  /** @param isTwoAfter whether the second passphrase opens it when all is done; the first one always must */
  const keyed = (isTwoAfter: boolean) => async (): Promise<'before' | 'after' | 'other'> => {
    if (!(await opens('k.st', 'one'))) return 'other'
    return (await opens('k.st', 'two')) === isTwoAfter ? 'after' : 'before'
  }
  const addKey = 'key add k.st --passphrase-file one --new-passphrase-file two'
  const options = '--progress none'
  return [
    {
      words: `build disk.img -o new.st ${options}`,
      again: `build disk.img -o new.st -f ${options}`,
      prepare: remove('new.st'),
      state: holds('new.st', undefined, snapshot)
    },
    {
      words: `extract a.st -o new ${options}`,
      again: `extract a.st -o new -f ${options}`,
      prepare: remove('new'),
      state: holds('new', undefined, disk)
    },
    {
      words: `extract a.st -o place --in-place ${options}`,
      again: `extract a.st -o place --in-place ${options}`,
      prepare: put('old', 'place'),
      state: holds('place', old, disk),
      isMixing: true
    },
    { words: addKey, again: addKey, prepare: put('one.st', 'k.st'), state: keyed(true), isKeyed: true },
    {
      words: 'key remove k.st 1',
      again: 'key remove k.st 1',
      prepare: put('both.st', 'k.st'),
      state: keyed(false),
      isKeyed: true
    },
    {
      words: `build disk.img -o over -f ${options}`,
      again: `build disk.img -o over -f ${options}`,
      prepare: put('old', 'over'),
      state: holds('over', old, snapshot)
    },
    {
      words: `extract a.st -o over -f ${options}`,
      again: `extract a.st -o over -f ${options}`,
      prepare: put('old', 'over'),
      state: holds('over', old, disk)
    }
  ]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { count: { type: 'string', default: '300' }, seed: { type: 'string', default: '1' } }
  })
  const folder = mkdtempSync(join(tmpdir(), 'hexz-kills-'))
  try {
    const { count, lateCount, wrong, unusable, failed } = await kill(
      folder,
      Number(values.count),
      Number(values.seed)
    )
    const lines = [...wrong, ...unusable, ...failed]
    lines.push(
      `seed ${values.seed}: ${count} kills, ${lateCount} of them after the run had succeeded; ${wrong.length} wrong targets, ${unusable.length} unusable snapshots, ${failed.length} second runs failed`
    )
    process.stdout.write(lines.map((line) => `${line}\n`).join(''))
    process.exitCode = lines.length > 1 ? 1 : 0
  } finally {
    rmSync(folder, { recursive: true })
  }
}
