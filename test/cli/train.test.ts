import { existsSync, linkSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openSnapshot } from '../../lib/index.js'
import { phraseBytes, randomBytes } from '../helpers/data.js'
import { contentsOf, failsWith, finished, runCli, runShell, scratch, startCli } from '../helpers/run-cli.js'
import { runHere } from '../helpers/run-here.js'
import { skipUnless } from '../docs/run.js'

const MiB = 1024 * 1024
const source = phraseBytes(4.5 * MiB, 1)

await t.test(
  'a dictionary from files and a pipe, which build and zstd take',
  { skip: skipUnless('bash', 'zstd', 'cmp') },
  async (t) => {
    const cwd = scratch(t)
    writeFileSync(join(cwd, 'a'), source.subarray(0, 3 * MiB))
    writeFileSync(join(cwd, 'b'), source.subarray(3 * MiB))
    writeFileSync(join(cwd, 'new'), phraseBytes(MiB, 7))
    const made = await runCli(['train', 'a', 'b', '-o', 'one.dict'], { cwd })
    t.equal(made.code, 0)
    t.equal(made.stdout.toString(), '')
    t.match(
      made.stderr,
      /^hexz: one\.dict: 1\d\d KiB, trained on \d+ samples of 2 sources\n {2}gain {9}\d+\.\d\d % on samples that it was not trained on\n {2}\d+\.\d s, peak memory \d+ MiB\n$/
    )
    const piped = await runShell('cat b | hexz train a - --json > two.dict', { cwd })
    t.equal(piped.code, 0)
    t.ok(
      readFileSync(join(cwd, 'two.dict')).equals(readFileSync(join(cwd, 'one.dict'))),
      'the same to a pipe'
    )
    const { elapsedMs, peakMemory, ...summary } = JSON.parse(piped.stderr) as Record<string, number>
    t.ok(Number.isInteger(elapsedMs) && (peakMemory ?? 0) > MiB)
    t.match(summary, { target: 'standard output', size: readFileSync(join(cwd, 'one.dict')).length })
    t.ok((summary.gain ?? 0) > 0 && (summary.gain ?? 0) < 1 && (summary.sampleCount ?? 0) >= 64)

    const script =
      'zstd -q -3 -D one.dict new -o new.zst && zstd -q -d -D one.dict -c new.zst | cmp - new && zstd -q -3 new -o plain.zst'
    t.strictSame((await runShell(script, { cwd })).code, 0, 'zstd -D goes both ways')
    t.ok(readFileSync(join(cwd, 'new.zst')).length < 0.97 * readFileSync(join(cwd, 'plain.zst')).length)

    const build = ['build', 'new', '-p', 'eda', '-o', 'new.st', '--dictionary']
    t.equal((await runCli([...build, 'one.dict'], { cwd })).code, 0)
    const snapshot = await openSnapshot(join(cwd, 'new.st'))
    t.ok((await snapshot.read('disk', 0, MiB)).equals(readFileSync(join(cwd, 'new'))))
    await snapshot.close()
    const withDictionary = readFileSync(join(cwd, 'new.st')).length
    t.equal((await runCli([...build, 'off', '-f'], { cwd })).code, 0)
    t.ok(withDictionary < readFileSync(join(cwd, 'new.st')).length)
  }
)

await t.test('what is refused, and leaves everything as it was', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk'), source)
  linkSync(join(cwd, 'disk'), join(cwd, 'link'))
  writeFileSync(join(cwd, 'small'), source.subarray(0, 1000))
  writeFileSync(join(cwd, 'random'), randomBytes(5 * MiB, 1))
  writeFileSync(join(cwd, 'old.dict'), 'old')
  const before = contentsOf(cwd)
  const range = 'a dictionary has 1K to 1M, not'
  const unsuitable = 'no dictionary can be trained on the sources:'
  const cases: readonly (readonly [words: string, code: number, message: string])[] = [
    ['', 2, 'no source is named; give files, devices, or - for standard input'],
    ['disk -o new --size 1000', 2, `${range} 1000 bytes`],
    ['disk -o new --size 2M', 2, `${range} 2097152 bytes`],
    ['disk -o new --level 20', 2, '--level 20 is not a whole number from 1 to 19'],
    [
      '- - -o new',
      2,
      'source 1 and source 2 are both standard input, which can be read only once; give one of them another way'
    ],
    ['disk -o new --concurrency 2', 2, '--concurrency is not an option of hexz train; see hexz train --help'],
    ['nowhere disk -o new', 3, 'nowhere does not exist'],
    ['disk nowhere -o new', 3, 'nowhere does not exist'],
    ['small -o new', 3, `${unsuitable} they have 1000 bytes, and 4194304 (4 MiB) is the least`],
    ['- -o new', 3, `${unsuitable} they have 0 bytes, and 4194304 (4 MiB) is the least`],
    [
      'random -o new',
      3,
      `${unsuitable} too little of the source compresses, or it repeats and is stored once anyway`
    ],
    ['disk -o old.dict', 4, 'old.dict exists already; --force replaces it'],
    ['disk -o disk -f', 4, 'disk is the same file as the source disk; choose another target'],
    ['small disk -o link -f', 4, 'link is the same file as the source disk; choose another target'],
    ['disk -o nowhere/new', 4, "nowhere/new can't be written: its folder does not exist"],
    ['disk -o .', 4, ". can't be written: it is a directory"]
  ]
  for (const [words, code, message] of cases) {
    const args = words.split(' ').filter((word) => word !== '')
    failsWith(t, await runHere(['train', ...args], { cwd }), { code, message }, words)
  }
  const directory = await runCli(['train', cwd, '-o', 'new'], { cwd })
  failsWith(
    t,
    directory,
    { code: 3, message: /is a directory; a source is a file, a device or a pipe/ },
    'a folder'
  )
  t.strictSame(contentsOf(cwd), before)
})

await t.test('--force replaces; a signal leaves nothing', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk'), source)
  writeFileSync(join(cwd, 'old.dict'), 'old')
  const forced = await runCli(['train', 'disk', '-o', 'old.dict', '-f', '--size', '2K'], { cwd })
  t.equal(forced.code, 0)
  const { length } = readFileSync(join(cwd, 'old.dict'))
  t.ok(length > 1024 && length <= 2048, `${length} bytes`)

  const child = startCli(['train', 'disk', '-', '-o', 'new.dict'], { cwd })
  child.stdin?.write(source.subarray(0, 2 * MiB), () => child.kill('SIGTERM'))
  const { signal, stderr } = await finished(child)
  t.strictSame([signal, stderr], ['SIGTERM', 'hexz: stopped by SIGTERM before it was done\n'])
  t.notOk(existsSync(join(cwd, 'new.dict')) || existsSync(join(cwd, 'new.dict.partial')))
})
