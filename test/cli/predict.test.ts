import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mixedBytes } from '../helpers/data.js'
import { contentsOf, failsWith, finished, runCli, scratch, startCli } from '../helpers/run-cli.js'
import { runHere } from '../helpers/run-here.js'

const MiB = 1024 * 1024
const source = mixedBytes(3 * MiB, 1, 64 * 1024)

interface Row {
  readonly profile: string
  readonly cdc: boolean
  readonly storedSize: number
}

await t.test('a table, and the same as JSON, of a file and of a pipe', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), source)
  const before = contentsOf(cwd)
  const shown = await runCli(['predict', 'disk.img'], { cwd })
  t.strictSame([shown.code, shown.stderr], [0, ''])
  const lines = shown.stdout.toString().split('\n')
  t.match(lines[0], /^disk\.img: 3 MiB, all of it read in \d+\.\d s$/)
  t.match(lines[1], /^ {2}profile +cdc +dictionary +holes +repeats +ratio +stored +speed$/)
  t.strictSame(
    lines.slice(2, 14).map((line) => line.trim().split(/ {2,}/).slice(0, 2).join(' ')),
    ['generic', 'eda', 'embedded', 'ml'].flatMap((profile) =>
      ['no', 'yes'].flatMap((cdc) =>
        Array.from({ length: ['eda', 'ml'].includes(profile) ? 2 : 1 }, () => `${profile} ${cdc}`)
      )
    )
  )
  t.ok(
    lines
      .slice(2, 14)
      .every((line) =>
        / \d+\.\d %  +\d+\.\d %  +\d+\.\d\d  +± \d+\.\d %  +[\d.]+ \w?iB  +[\d.]+ \w*B\/s$/.test(line)
      ),
    'each with its figures'
  )
  t.match(lines[14], /^smallest: --profile \w+( --cdc)?( --dictionary off)?$/)
  t.match(lines[15], /^fastest: {2}--profile \w+( --cdc)?( --dictionary off)?$/)

  const json = await runCli(['predict', 'disk.img', '--json'], { cwd })
  const piped = await runCli(['predict', '-', '--json'], { cwd, stdin: source })
  t.strictSame([json.code, json.stderr, piped.code, piped.stderr], [0, '', 0, ''])
  const [ofFile, ofPipe] = [json, piped].map(
    ({ stdout }) => JSON.parse(stdout.toString()) as { source: string; builds: Row[]; smallest: number }
  )
  t.equal(ofFile?.source, 'disk.img')
  t.equal(ofPipe?.source, 'standard input')
  const sizes = ofFile?.builds.map(({ storedSize }) => storedSize) ?? []
  t.ok(
    ofPipe?.builds.every(({ storedSize }, i) => Math.abs(storedSize / (sizes[i] ?? NaN) - 1) < 0.03),
    'of a pipe, about the same'
  )
  t.equal(ofPipe?.builds.length, sizes.length)
  t.ok((sizes[ofFile?.smallest ?? -1] ?? Infinity) <= 1.005 * Math.min(...sizes))
  t.strictSame(contentsOf(cwd), before, 'nothing was made')
})

await t.test('mistakes and sources that are none', async (t) => {
  const cwd = scratch(t)
  const cases: readonly (readonly [words: string, code: number, message: string | RegExp])[] = [
    ['', 2, 'no source is named; give a file, a device, or - for standard input'],
    ['a b', 2, '"b" is one argument too many'],
    ['a --profile eda', 2, '--profile is not an option of hexz predict; see hexz predict --help'],
    ['nowhere', 3, 'nowhere does not exist'],
    ['.', 3, /is a directory/]
  ]
  for (const [words, code, message] of cases) {
    const args = words.split(' ').filter((word) => word !== '')
    failsWith(t, await runHere(['predict', ...args], { cwd }), { code, message }, words)
  }
  const empty = await runCli(['predict', '-'], { cwd })
  const message = 'standard input gave no bytes: what should have sent them may have failed'
  failsWith(t, empty, { code: 3, message }, 'nothing')
})

await t.test('a signal ends it while a pipe is silent', async (t) => {
  const child = startCli(['predict', '-'], { cwd: scratch(t) })
  child.stdin?.write(source.subarray(0, MiB), () => child.kill('SIGINT'))
  const { signal, stdout, stderr } = await finished(child)
  t.strictSame([signal, stdout.length, stderr], ['SIGINT', 0, 'hexz: stopped by SIGINT before it was done\n'])
})
