import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { build } from '../../lib/index.js'
import { cipherBytes } from '../helpers/bulk-data.js'
import { contentsOf, failsWith, finished, runCli, runShell, scratch, startCli } from '../helpers/run-cli.js'

const MiB = 1024 * 1024
const disk = cipherBytes(4 * MiB, 1)

async function setUp(t: Test): Promise<string> {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  await build({ source: join(cwd, 'disk.img'), target: join(cwd, 'a.st'), concurrency: 1 })
  writeFileSync(join(cwd, 'old'), 'old')
  return cwd
}

/** The exit code of the first command of a pipeline comes last on standard output. */
const codeOf = (stdout: Buffer): number => Number(stdout.toString().trimEnd().split('\n').at(-1))

await t.test('the reader of the output goes away', async (t) => {
  const cwd = await setUp(t)
  const before = contentsOf(cwd)
  const closed = 'hexz: standard output was closed by its reader before everything was written\n'
  const cases: readonly (readonly [script: string, code: number, stderr: string])[] = [
    ['hexz build disk.img | head -c 1M > /dev/null', 4, closed],
    ['hexz build - < disk.img | head -c 1M > /dev/null', 4, closed],
    ['hexz extract a.st | head -c 1M > /dev/null', 141, ''],
    ['hexz extract a.st --json | head -c 1M > /dev/null', 141, ''],
    ['cat a.st | hexz extract - | head -c 1M > /dev/null', 141, '']
  ]
  for (const [script, code, stderr] of cases) {
    const number = script.startsWith('cat') ? 1 : 0
    const result = await runShell(`${script}; echo "\${PIPESTATUS[${number}]}"`, { cwd })
    t.equal(codeOf(result.stdout), code, `${script}: exit code`)
    t.equal(result.stderr, stderr, `${script}: standard error`)
  }
  for (const args of [['--help'], ['build', '--help'], ['inspect', 'a.st'], ['verify', 'a.st', '--json']]) {
    const child = startCli(args, { cwd })
    child.stdout?.destroy()
    const { code, stderr } = await finished(child)
    t.strictSame([code, stderr], [141, ''], `${args.join(' ')}: quiet`)
  }
  t.strictSame(contentsOf(cwd), before, 'nothing was made or changed')
})

await t.test('nobody reads standard error', async (t) => {
  const cwd = await setUp(t)
  const built = startCli(['build', 'disk.img', '-o', 'b.st'], { cwd })
  built.stderr?.destroy()
  t.equal((await finished(built)).code, 0, 'a build is no failure for that')
  t.ok(readFileSync(join(cwd, 'b.st')).equals(readFileSync(join(cwd, 'a.st'))))
  const refused = startCli(['build', 'disk.img', '-o', 'old'], { cwd })
  refused.stderr?.destroy()
  t.equal((await finished(refused)).code, 4, 'and a failure keeps its exit code')
})

await t.test('an error does not wait for standard input to end', async (t) => {
  const more = cipherBytes(16 * MiB, 2) // more than the stages hold before they write
  const cwd = await setUp(t)
  const before = contentsOf(cwd)
  const exists = 'old exists already; --force replaces it'
  const cases: readonly (readonly [words: string, code: number, message: string])[] = [
    ['build - -o old', 4, exists],
    ['build - -o nowhere/x', 4, "nowhere/x can't be written: its folder does not exist"],
    ['build - --memory nowhere.bin -o x', 3, 'nowhere.bin does not exist'],
    ['build nowhere.img --memory - -o x', 3, 'nowhere.img does not exist'],
    ['build - -o /dev/full --expect-size 1K', 3, 'standard input gave more than the 1024 bytes expected'],
    ['build - -o /dev/full', 4, "/dev/full can't be written: no space is left there"],
    ['extract - -o old', 4, exists],
    ['extract - -o nowhere/x', 4, "nowhere/x can't be written: its folder does not exist"],
    ['recover - -o old', 4, exists],
    ['verify - --progress loud', 2, '--progress loud is unknown; use auto, plain, json, none']
  ]
  for (const [words, code, message] of cases) {
    const child = startCli(words.split(' '), { cwd })
    child.stdin?.on('error', () => undefined)
    child.stdin?.write(more) // and it stays open
    failsWith(t, await finished(child), { code, message }, words)
  }
  t.strictSame(contentsOf(cwd), before, 'nothing was made or changed')
})

await t.test('an error does not wait for standard output to be read', async (t) => {
  const cwd = await setUp(t)
  const child = startCli(['build', '-', '--expect-size', '2M'], { cwd })
  child.stdin?.on('error', () => undefined)
  child.stdin?.write(disk)
  const [code] = (await once(child, 'exit')) as [number | null]
  t.equal(code, 3, 'it ends although nobody reads what it wrote')
})

const hasScript = spawnSync('script', ['-qec', 'true', '/dev/null']).status === 0
const skipTerminal = hasScript ? false : 'script of util-linux is not installed'

await t.test('terminals', { skip: skipTerminal }, async (t) => {
  const cwd = await setUp(t)
  const before = contentsOf(cwd)
  const input = 'hexz: standard input is a terminal; pipe something into hexz or name a file'
  const output = 'hexz: standard output is a terminal; name a target with -o, or pipe it somewhere'
  const cases: readonly (readonly [command: string, line: string])[] = [
    ['hexz build disk.img', output],
    ['hexz build disk.img -', output],
    ['hexz extract a.st', output],
    ['hexz build - -o b.st', input],
    ['hexz build disk.img --memory - -o b.st', input],
    ['hexz extract - -o b.img', input],
    ['hexz inspect -', input],
    ['hexz verify -', input],
    ['hexz recover - -o b.img', input]
  ]
  for (const [command, line] of cases) {
    const result = await runShell(`export -f hexz; script -qec '${command}' /dev/null < /dev/null`, { cwd })
    t.strictSame([result.code, result.stdout.toString()], [2, `${line}\r\n`], command)
  }
  t.strictSame(contentsOf(cwd), before, 'nothing was made or changed')
})

await t.test('progress on a terminal clears its line', { skip: skipTerminal }, async (t) => {
  const cwd = await setUp(t)
  const command = '(cat disk.img; sleep 1.5; cat disk.img) | hexz build - -o b.st'
  const { code, stdout } = await runShell(`export -f hexz; script -qec '${command}' /dev/null < /dev/null`, {
    cwd
  })
  t.equal(code, 0)
  const [shown = '', ...rest] = stdout.toString().split('hexz: b.st: ')
  // eslint-disable-next-line no-control-regex -- the line that a terminal is sent
  t.match(shown, /^(\r\x1b\[Kread [\d.]+ MiB, [\d.]+ MiB written, [\d.]+ [KM]iB\/s)+\r\x1b\[K$/)
  t.match(rest.join(''), /^8 MiB in, [^\n]+\r\n/)
})

await t.test('-o a file while standard input is the end of a pipeline that is slow to start', async (t) => {
  const cwd = await setUp(t)
  const { code } = await runShell('(sleep 0.5; cat disk.img) | hexz build - -o b.st', { cwd })
  t.equal(code, 0)
  t.ok(readFileSync(join(cwd, 'b.st')).equals(readFileSync(join(cwd, 'a.st'))))
  t.equal((await runCli(['verify', 'b.st'], { cwd })).code, 0)
})
