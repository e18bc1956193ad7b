import { linkSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { build } from '../../lib/index.js'
import { cipherBytes } from '../helpers/bulk-data.js'
import { contentsOf, failsWith, runCli, runShell, scratch } from '../helpers/run-cli.js'
import { runHere } from '../helpers/run-here.js'

const KiB = 1024
const disk = cipherBytes(400 * KiB, 1)

async function setUp(t: Test): Promise<string> {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  writeFileSync(join(cwd, 'ram.bin'), disk.subarray(0, 5000))
  await build({ source: join(cwd, 'disk.img'), target: join(cwd, 'a.st'), concurrency: 1 })
  writeFileSync(join(cwd, 'old'), 'old')
  mkdirSync(join(cwd, 'folder'))
  symlinkSync('disk.img', join(cwd, 'soft.img'))
  linkSync(join(cwd, 'disk.img'), join(cwd, 'hard.img'))
  symlinkSync('nowhere', join(cwd, 'dangling'))
  linkSync(join(cwd, 'a.st'), join(cwd, 'hard.st'))
  writeFileSync(join(cwd, 'stale.st.partial'), 'stale')
  return cwd
}

await t.test('a target that may not be made', async (t) => {
  const cwd = await setUp(t)
  const before = contentsOf(cwd)
  const same = (target: string, source: string): string =>
    `${target} is the same file as the source ${source}; choose another target`
  const cases: readonly (readonly [words: string, message: string])[] = [
    ['build disk.img -o old', 'old exists already; --force replaces it'],
    ['build disk.img -o disk.img', same('disk.img', 'disk.img')],
    ['build disk.img -o disk.img --force', same('disk.img', 'disk.img')],
    ['build disk.img -o soft.img --force', same('soft.img', 'disk.img')],
    ['build soft.img -o disk.img --force', same('disk.img', 'soft.img')],
    ['build disk.img -o hard.img --force', same('hard.img', 'disk.img')],
    ['build disk.img -o ./folder/../disk.img --force', same('./folder/../disk.img', 'disk.img')],
    ['build disk.img --memory ram.bin -o ram.bin --force', same('ram.bin', 'ram.bin')],
    ['build disk.img -o nowhere/a.st', "nowhere/a.st can't be written: its folder does not exist"],
    ['build disk.img -o old/a.st', "old/a.st can't be written: its folder does not exist"],
    ['build disk.img -o folder', "folder can't be written: it is a directory"],
    ['build disk.img -o folder --force', "folder can't be written: it is a directory"],
    [
      'build disk.img -o dangling',
      'dangling is a link to a file that is not there; --force replaces the link'
    ],
    [
      'build disk.img -o stale.st',
      'stale.st.partial exists: another hexz is writing it, or one was killed; --force removes it'
    ],
    ['build stale.st.partial -o stale.st --force', same('stale.st.partial', 'stale.st.partial')],
    ['extract a.st -o old', 'old exists already; --force replaces it'],
    ['extract a.st -o a.st --force', same('a.st', 'a.st')],
    ['extract a.st -o hard.st --force', same('hard.st', 'a.st')],
    ['extract a.st -o folder', "folder can't be written: it is a directory"],
    ['extract a.st -o nowhere/x', "nowhere/x can't be written: its folder does not exist"],
    ['recover a.st -o old', 'old exists already; --force replaces it'],
    ['recover a.st -o a.st --force', same('a.st', 'a.st')],
    ['recover a.st -o nowhere/x', "nowhere/x can't be written: its folder does not exist"]
  ]
  for (const [words, message] of cases) {
    failsWith(t, await runHere(words.split(' '), { cwd }), { code: 4, message }, words)
  }
  t.strictSame(contentsOf(cwd), before, 'nothing was made or changed')
})

await t.test('the source by another way in or out', async (t) => {
  const cwd = await setUp(t)
  const before = contentsOf(cwd)
  const cases: readonly (readonly [script: string, message: string])[] = [
    [
      'hexz build - -o disk.img --force < disk.img',
      'disk.img is the same file as standard input; choose another target'
    ],
    [
      'hexz build disk.img >> disk.img',
      'standard output is the same file as the source disk.img; choose another target'
    ],
    [
      'hexz build - < disk.img >> hard.img',
      'standard output is the same file as standard input; choose another target'
    ],
    [
      'hexz extract a.st >> hard.st',
      'standard output is the same file as the source a.st; choose another target'
    ],
    [
      'hexz extract - -o a.st --force < a.st',
      'a.st is the same file as standard input; choose another target'
    ],
    [
      'hexz recover - -o a.st --force < a.st',
      'a.st is the same file as standard input; choose another target'
    ]
  ]
  for (const [script, message] of cases) {
    failsWith(t, await runShell(script, { cwd }), { code: 4, message }, script)
  }
  t.strictSame(contentsOf(cwd), before, 'nothing was made or changed')
})

/** Every way of writing that fails half-way must leave things as they were. */
async function failsLeavingNothing(
  t: Test,
  cwd: string,
  cases: readonly (readonly [script: string, message: string | RegExp])[]
): Promise<void> {
  const before = contentsOf(cwd)
  for (const [script, message] of cases) {
    failsWith(t, await runShell(script, { cwd }), { code: 4, message }, script)
    t.strictSame(contentsOf(cwd), before, `${script}: nothing was made or changed`)
  }
}

await t.test('a target that fills up', async (t) => {
  const cwd = await setUp(t)
  const full = (name: string): string => `${name} can't be written: no space is left there`
  await failsLeavingNothing(t, cwd, [
    ['hexz build disk.img > /dev/full', full('standard output')],
    ['hexz build disk.img -o /dev/full', full('/dev/full')],
    ['hexz extract a.st > /dev/full', full('standard output')],
    ['hexz extract a.st -o /dev/full', full('/dev/full')],
    ['hexz inspect a.st > /dev/full', full('standard output')],
    ['hexz verify a.st > /dev/full', full('standard output')],
    ['hexz --help > /dev/full', full('standard output')],
    ['(ulimit -f 100; hexz build disk.img -o new.st)', full('new.st')],
    ['(ulimit -f 100; hexz build disk.img -o old --force)', full('old')],
    ['(ulimit -f 100; hexz extract a.st -o new.img)', full('new.img')],
    ['(ulimit -f 100; hexz recover a.st -o new.img)', full('new.img')],
    ['(ulimit -f 100; cat a.st | hexz extract - -o new.img)', full('the temporary file in .')]
  ])
})

const isMountable = (await runShell("unshare -m bash -c 'mount -t tmpfs -o size=128k none /mnt'")).code === 0
const skipMount = isMountable ? false : 'no small filesystem can be mounted here'

await t.test('a filesystem that fills up', { skip: skipMount }, async (t) => {
  const cwd = await setUp(t)
  const mount = 'mount -t tmpfs -o size=128k none folder && cp old folder/old'
  const inside = (command: string): string => `export -f hexz; unshare -m bash -c '${mount}
    ${command}; code=$?; [ "$(ls -A folder) $(cat folder/old)" = "old old" ] || echo changed; exit $code'`
  const full = (name: string): string => `${name} can't be written: no space is left there`
  await failsLeavingNothing(t, cwd, [
    [inside('hexz build disk.img -o folder/new.st'), full('folder/new.st')],
    [inside('hexz build disk.img -o folder/old --force'), full('folder/old')],
    [inside('hexz extract a.st -o folder/new.img'), full('folder/new.img')],
    [inside('hexz recover a.st -o folder/new.img'), full('folder/new.img')]
  ])
})

const skipLocked = process.getuid?.() === 0 ? 'root may write everywhere' : false

await t.test('a folder that may not be written', { skip: skipLocked }, async (t) => {
  const cwd = await setUp(t)
  mkdirSync(join(cwd, 'locked'), { mode: 0o500 })
  await failsLeavingNothing(t, cwd, [
    ['hexz build disk.img -o locked/a.st', "locked/a.st can't be written: permission denied"]
  ])
})

await t.test(
  '--force replaces the file that a link names, keeps its mode, and takes over a stale .partial',
  async (t) => {
    const cwd = await setUp(t)
    const at = (name: string): string => join(cwd, name)
    writeFileSync(at('private'), 'private', { mode: 0o600 })
    symlinkSync('private', at('link'))
    t.equal((await runCli(['build', 'disk.img', '-o', 'link', '--force'], { cwd })).code, 0)
    t.ok(readFileSync(at('private')).equals(readFileSync(at('a.st'))), 'written through the link')
    t.equal(statSync(at('private')).mode & 0o777, 0o600, 'a private file stays private')
    t.equal((await runCli(['build', 'disk.img', '-o', 'stale.st', '--force'], { cwd })).code, 0)
    t.ok(readFileSync(at('stale.st')).equals(readFileSync(at('a.st'))))
    t.notMatch(Object.keys(contentsOf(cwd)).join(' '), /partial/)
  }
)

await t.test('targets that are no files', async (t) => {
  const cwd = await setUp(t)
  const script = `mkfifo fifo; cat fifo > got & hexz build disk.img -o fifo; wait; cmp got a.st && rm got fifo`
  t.equal((await runShell(script, { cwd })).code, 0, 'a named pipe')
  t.equal((await runShell('hexz build disk.img -o /dev/null', { cwd })).code, 0, '/dev/null')
  const spooled = await runShell('cat a.st | hexz extract - -o /dev/null', { cwd })
  t.equal(spooled.code, 0, 'what comes through a pipe is not spooled beside a device')
})
