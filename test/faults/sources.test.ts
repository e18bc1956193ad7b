import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  truncateSync,
  utimesSync,
  writeFileSync
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openSnapshot } from '../../lib/index.js'
import { cipherBytes } from '../helpers/bulk-data.js'
import { textBytes } from '../helpers/data.js'
import {
  contentsOf,
  eachOf,
  failsWith,
  finished,
  runCli,
  runShell,
  scratch,
  startCli,
  until
} from '../helpers/run-cli.js'
import { runHere } from '../helpers/run-here.js'

const MiB = 1024 * 1024
const disk = textBytes(200_000, 1)

await t.test('a source that cannot be read', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  mkdirSync(join(cwd, 'folder'))
  writeFileSync(join(cwd, 'old.st'), 'old')
  const before = contentsOf(cwd)
  const folderMessage =
    'folder is a directory; a source is a file, a device or a pipe (for a folder: tar -c folder | hexz build -)'
  const cases: readonly (readonly [args: readonly string[], message: string])[] = [
    [['build', 'nowhere.img', '-o', 'a.st'], 'nowhere.img does not exist'],
    [['build', 'nowhere.img'], 'nowhere.img does not exist'],
    [['build', 'disk.img/x', '-o', 'a.st'], 'disk.img/x does not exist'],
    [['build', 'nowhere.img', '-o', 'old.st', '--force'], 'nowhere.img does not exist'],
    [['build', 'disk.img', '--memory', 'ram.bin', '-o', 'a.st'], 'ram.bin does not exist'],
    [['build', 'two\nlines', '-o', 'a.st'], 'two\\nlines does not exist'],
    [['build', 'folder', '-o', 'a.st'], folderMessage],
    [['build', 'disk.img', '--memory', 'folder', '-o', 'a.st'], folderMessage],
    [['extract', 'nowhere.st', '-o', 'a.img'], 'nowhere.st does not exist'],
    [['inspect', 'nowhere.st'], 'nowhere.st does not exist'],
    [['verify', 'folder'], 'folder is a directory, not a snapshot'],
    [['recover', 'folder', '-o', 'a.img'], 'folder is a directory, not a snapshot'],
    [
      ['verify', '/dev/null'],
      '/dev/null is not a regular file; give a snapshot that comes through a pipe as -'
    ],
    [
      ['build', 'disk.img', '-o', 'a.st', '--expect-size', '200001'],
      'disk.img ended after 200000 of 200001 bytes'
    ],
    [
      ['build', 'disk.img', '-o', 'a.st', '--expect-size', '199999'],
      'disk.img gave more than the 199999 bytes expected'
    ],
    [
      ['build', 'disk.img', '-o', 'a.st', '--expect-size', '0'],
      'disk.img gave more than the 0 bytes expected'
    ]
  ]
  for (const [args, message] of cases)
    failsWith(t, await runHere(args, { cwd }), { code: 3, message }, args.join(' '))
  const [words, told] = cases[0] ?? [[], '']
  failsWith(t, await runCli(words, { cwd }), { code: 3, message: told }, 'as a process')
  const child = startCli(['build', '-', '-o', 'a.st'], { cwd, stdio: [openSync(cwd, 'r'), 'pipe', 'pipe'] })
  const message = /^hexz: standard input (is a directory|can't be read)/
  failsWith(t, await finished(child), { code: 3, message }, 'standard input is a directory')
  t.strictSame(contentsOf(cwd), before, 'nothing was made or changed')
})

await t.test(
  'a bad sector',
  { skip: process.platform === 'linux' ? false : 'needs /proc/self/mem' },
  async (t) => {
    const cwd = scratch(t)
    const result = await runCli(['build', '/proc/self/mem', '-o', 'a.st'], { cwd })
    failsWith(t, result, { code: 3, message: "/proc/self/mem can't be read: EIO: i/o error, read" }, 'EIO')
    t.strictSame(contentsOf(cwd), {})
  }
)

const isRoot = process.getuid?.() === 0
const user = isRoot ? { uid: 65534 } : {}
const isRefusable = !isRoot || (await runCli(['--version'], user)).code === 0
const skipRefusal = isRefusable ? false : 'root may read everything, and others cannot reach the program here'

await t.test('a source that may not be read', { skip: skipRefusal }, async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'secret.img'), 'secret', { mode: isRoot ? 0o600 : 0o000 })
  const result = await runCli(['build', join(cwd, 'secret.img')], user)
  failsWith(
    t,
    result,
    { code: 3, message: `${join(cwd, 'secret.img')} can't be read: permission denied` },
    'EACCES'
  )
})

await t.test('a snapshot that is none', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'text.st'), disk)
  writeFileSync(join(cwd, 'empty.st'), '')
  const before = contentsOf(cwd)
  const commands = [['extract'], ['extract', '-o', 'x.img'], ['inspect'], ['verify'], ['verify', '--quick']]
  await eachOf([...commands, ['recover', '-o', 'x.img']], async ([name = '', ...flags]) => {
    const text = await runCli([name, 'text.st', ...flags], { cwd })
    const message = 'text.st is not a snapshot, or its first bytes are damaged'
    failsWith(t, text, { code: 5, message }, `${name} ${flags.join(' ')} text`)
    const empty = await runCli([name, '-', ...flags], { cwd })
    failsWith(t, empty, { code: 5, message: 'standard input is empty, not a snapshot' }, `${name} of nothing`)
  })
  t.strictSame(contentsOf(cwd), before, 'nothing was made or changed')
})

await t.test('standard input ends early because its producer died', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  const producer = `(head -c 150000 disk.img; kill -9 $BASHPID)`
  const checked = await runShell(`${producer} | hexz build - -o a.st --expect-size 200000`, { cwd })
  const message = 'standard input ended after 150000 of 200000 bytes'
  failsWith(t, checked, { code: 3, message }, 'with --expect-size')
  const piped = await runShell(`${producer} | hexz build - --expect-size 200000 > pipe.st`, { cwd })
  failsWith(t, piped, { code: 3, message }, 'with --expect-size, to standard output')
  const verified = await runCli(['verify', 'pipe.st'], { cwd })
  t.equal(verified.code, 5, 'what is left there is not taken for a snapshot')
  t.equal(verified.stderr, 'hexz: pipe.st is empty, not a snapshot\n')
  t.strictSame(Object.keys(contentsOf(cwd)), ['disk.img', 'pipe.st'], 'no target')

  const plain = await runShell(`${producer} | hexz build - -o a.st`, { cwd })
  t.equal(plain.code, 0, 'without --expect-size the bytes that came are a snapshot')
  t.match(plain.stderr, /^hexz: a\.st: 146 KiB in, /, 'and the summary says how many')
  const snapshot = await openSnapshot(join(cwd, 'a.st'))
  t.ok((await snapshot.read('disk', 0, 200_000)).equals(disk.subarray(0, 150_000)))
  await snapshot.close()
})

await t.test('a source that changes while it is read', async (t) => {
  const cwd = scratch(t)
  const path = join(cwd, 'disk.img')
  const changes: Readonly<Record<string, () => void>> = {
    'it grows': () => appendFileSync(path, 'more'),
    'it shrinks': () => truncateSync(path, 23 * MiB),
    'it is written to': () => {
      const fd = openSync(path, 'r+')
      writeFileSync(fd, 'other')
      closeSync(fd)
      utimesSync(path, 1, 1)
    }
  }
  const cases = Object.entries(changes).flatMap(([name, change]) =>
    (['disk.img', '-'] as const).map((source) => ({ name: `${name}, ${source}`, change, source }))
  )
  for (const { name, change, source } of cases) {
    const what = source === '-' ? 'standard input' : source
    const message = `${what} changed while it was read: build from something that stands still, such as a filesystem snapshot`
    writeFileSync(path, cipherBytes(24 * MiB, 7))
    // The output is not taken until the source has changed, so the build is in the middle.
    const fd = openSync(path, 'r')
    const child = startCli(['build', source, '--concurrency', '1', '--progress', 'none'], {
      cwd,
      stdio: [fd, 'pipe', 'pipe']
    })
    closeSync(fd)
    await until('output comes', () => (child.stdout?.readableLength ?? 0) > 0)
    change()
    const { code, stdout, stderr } = await finished(child)
    t.strictSame([code, stderr], [3, `hexz: ${message}\n`], name)
    writeFileSync(join(cwd, 'out.st'), stdout)
    const verified = await runCli(['verify', 'out.st', '--quick'], { cwd })
    t.match(
      verified.stderr,
      /^hexz: out\.st is incomplete: /,
      `${name}: what came out is not taken for a snapshot`
    )
  }
})

await t.test('a pipe that gives nothing', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  writeFileSync(join(cwd, 'empty.img'), '')
  execFileSync('mkfifo', [join(cwd, 'fifo')])
  const nothing = (name: string): string =>
    `${name} gave no bytes: what should have sent them may have failed`
  const remedy = '; --allow-empty takes that as it is'
  const before = contentsOf(cwd)
  const cases: readonly (readonly [script: string, message: string])[] = [
    ['hexz build - -o a.st < /dev/null', nothing('standard input') + remedy],
    ['hexz build /dev/null -o b.st', nothing('/dev/null') + remedy],
    ['dd if=missing 2> /dev/null | hexz build - -o c.st', nothing('standard input') + remedy],
    [
      '(kill -9 $BASHPID) | hexz build - > d.st; code=$?; rm d.st; exit $code',
      nothing('standard input') + remedy
    ],
    ['hexz build disk.img --memory - -o e.st < /dev/null', nothing('standard input') + remedy],
    ['(: > fifo) & hexz build fifo -o f.st', nothing('fifo') + remedy],
    ['hexz predict - < /dev/null', nothing('standard input')]
  ]
  for (const [script, message] of cases)
    failsWith(t, await runShell(script, { cwd }), { code: 3, message }, script)
  t.strictSame(contentsOf(cwd), before, 'nothing was made')
  for (const script of [
    'hexz build - -o a.st --allow-empty < /dev/null',
    'hexz build - -o b.st --expect-size 0 < /dev/null',
    'hexz build empty.img -o c.st', // a file says itself that it is empty
    'hexz build - -o d.st < empty.img'
  ]) {
    const { code, stderr } = await runShell(script, { cwd })
    t.equal(code, 0, `${script}: ${stderr}`)
  }
  for (const name of ['a.st', 'b.st', 'c.st', 'd.st']) {
    const snapshot = await openSnapshot(join(cwd, name))
    t.strictSame(
      snapshot.streams.map(({ name, size }) => [name, size]),
      [['disk', 0]],
      name
    )
    await snapshot.close()
  }
})

await t.test('a file on standard input is read as by its name', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), Buffer.concat([textBytes(6 * MiB, 3), cipherBytes(MiB, 4)]))
  const script = [
    'hexz build disk.img --profile eda -o name.st',
    'hexz build - --profile eda < disk.img > input.st',
    'cmp name.st input.st', // its samples are read all over it, too
    '{ head -c 1000000 > /dev/null; hexz build - -o rest.st; } < disk.img',
    'hexz extract rest.st | cmp - <(tail -c +1000001 disk.img)'
  ].join(' && ')
  const { code, stderr } = await runShell(`set -o pipefail; ${script}`, { cwd })
  t.equal(code, 0, stderr)
})

await t.test('a snapshot that is standard input', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), textBytes(100_000, 1))
  const script = [
    'hexz build disk.img -o a.st',
    'TMPDIR=/nowhere hexz extract - < a.st | cmp - disk.img', // a file is read where it is, without a copy
    'TMPDIR=/nowhere hexz verify - < a.st',
    '{ echo 123456789; cat a.st; } > behind.st',
    '{ dd bs=10 count=1 of=/dev/null; hexz extract -; } < behind.st | cmp - disk.img', // from where it stands
    'cat a.st | hexz extract - | cmp - disk.img'
  ].join(' && ')
  t.match(await runShell(`set -o pipefail; ${script}`, { cwd }), { code: 0 })
  t.match(await runShell('cat a.st | TMPDIR=/nowhere hexz verify -', { cwd }), { code: 4 })
})
