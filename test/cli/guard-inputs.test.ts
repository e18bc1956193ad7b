import { execFileSync } from 'node:child_process'
import { closeSync, linkSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { build } from '../../lib/index.js'
import { textBytes } from '../helpers/data.js'
import {
  contentsOf,
  eachOf,
  failsWith,
  finished,
  runCli,
  runShell,
  scratch,
  startCli
} from '../helpers/run-cli.js'
import { runHere } from '../helpers/run-here.js'

const small = 'three\nshort\nlines\n'

const twice = (one: string, other: string, what = 'standard input'): string =>
  `${one} and ${other} are both ${what}, which can be read only once; give one of them another way`

/** Words of a command whose standard input is a pipe, and what is said of them. */
const onOnePipe: readonly (readonly [words: string, message: string])[] = [
  ['build - -e --passphrase-fd 0 -o o.st', twice('the source', '--passphrase-fd')],
  ['build - -e --passphrase-file /dev/stdin -o o.st', twice('the source', '--passphrase-file')],
  ['build - -e --passphrase-file - -o o.st', twice('the source', '--passphrase-file')],
  ['build - -e --passphrase-file /proc/self/fd/0 -o o.st', twice('the source', '--passphrase-file')],
  ['build - -e --passphrase-file link -o o.st', twice('the source', '--passphrase-file')],
  ['build - --dictionary /dev/stdin --profile eda -o o.st', twice('the source', '--dictionary')],
  ['build - --recipient /dev/stdin -o o.st', twice('the source', '--recipient')],
  ['build small --recipient - --recipient /dev/stdin -o o.st', twice('--recipient', '--recipient')],
  ['build - --memory /dev/stdin -o o.st', twice('the source', '--memory')],
  ['build /dev/stdin --memory - -o o.st', twice('the source', '--memory')],
  ['build /dev/fd/0 -o o.st --memory=/dev/stdin', twice('the source', '--memory')],
  ['build --source - --memory - -o o.st', twice('the source', '--memory')],
  ['extract - --passphrase-fd 0 -o o.img', twice('the snapshot', '--passphrase-fd')],
  ['extract - --identity /dev/stdin -o o.img', twice('the snapshot', '--identity')],
  ['verify - --passphrase-file /dev/fd/0', twice('the snapshot', '--passphrase-file')],
  ['inspect /dev/stdin --identity -', twice('the snapshot', '--identity')],
  ['diff - /dev/stdin', twice('the first snapshot', 'the second')],
  ['recover - -o o.img --passphrase-fd 0', twice('the snapshot', '--passphrase-fd')],
  ['train - /dev/stdin -o o.dict', twice('source 1', 'source 2')],
  ['key add a.st --passphrase-fd 0 --new-passphrase-fd 0', twice('--new-passphrase-fd', '--passphrase-fd')],
  ['build fifo --memory fifo -o o.st', twice('the source', '--memory', 'fifo')],
  ['build fifo --memory fifo2 -o o.st', twice('the source', '--memory', 'fifo2')]
]

await t.test('what can be read once is one input, by whatever name', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'small'), small)
  symlinkSync('/dev/stdin', join(cwd, 'link'))
  execFileSync('mkfifo', [join(cwd, 'fifo')])
  symlinkSync('fifo', join(cwd, 'fifo2'))
  await build({ source: join(cwd, 'small'), target: join(cwd, 'a.st') })
  const before = contentsOf(cwd)
  await eachOf(onOnePipe, async ([words, message]) => {
    failsWith(t, await runCli(words.split(' '), { cwd, stdin: small }), { code: 2, message }, words)
  })
  t.strictSame(contentsOf(cwd), before, 'nothing was made')
})

await t.test('a descriptor has one position, also in a file', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'small'), small)
  const fd = openSync(join(cwd, 'small'), 'r')
  const args = ['build', '-', '-e', '--passphrase-fd', '0', '-o', 'o.st']
  const child = startCli(args, { cwd, stdio: [fd, 'pipe', 'pipe'] })
  closeSync(fd)
  const message = twice('the source', '--passphrase-fd')
  failsWith(t, await finished(child), { code: 2, message }, 'standard input is a file')
  t.strictSame(Object.keys(contentsOf(cwd)), ['small'])
})

await t.test('files that are read twice are no mistake', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'small'), small)
  const script = [
    'hexz build small --memory small -o both.st',
    'hexz extract both.st --stream memory | cmp - small',
    'hexz build - --memory small -o other.st < small',
    'cmp both.st other.st',
    'hexz build - --allow-empty --memory /dev/null -o null.st < /dev/null'
  ].join(' && ')
  const { code, stderr } = await runShell(`set -o pipefail; ${script}`, { cwd })
  t.equal(code, 0, stderr)
})

await t.test('no input is the target, by whatever name', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'small'), small)
  writeFileSync(join(cwd, 'pass'), 'nine lives\n')
  linkSync(join(cwd, 'pass'), join(cwd, 'pass2'))
  execFileSync('mkfifo', [join(cwd, 'fifo')])
  execFileSync(
    'openssl',
    'req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout k.key -out k.crt'.split(' '),
    {
      cwd,
      stdio: 'ignore'
    }
  )
  const before = contentsOf(cwd)
  const cases: readonly (readonly [words: string, message: string])[] = [
    ['build small -f -o small', 'small is the same file as the source small; choose another target'],
    [
      'build small -e --passphrase-file pass -f -o pass2',
      'pass2 is the same file as the source pass; choose another target'
    ],
    [
      'build small --recipient k.crt -f -o k.crt',
      'k.crt is the same file as the source k.crt; choose another target'
    ],
    ['train small -f -o small', 'small is the same file as the source small; choose another target'],
    ['build fifo -o fifo', 'fifo is the same pipe as the source fifo; choose another target']
  ]
  for (const [words, message] of cases) {
    failsWith(t, await runHere(words.split(' '), { cwd }), { code: 4, message }, words)
  }
  const shell = await runShell('hexz build - -f -o small < small', { cwd })
  const message = 'small is the same file as standard input; choose another target'
  failsWith(t, shell, { code: 4, message }, 'standard input')
  t.strictSame(contentsOf(cwd), before, 'nothing was changed')
})

await t.test('descriptors by path are the descriptors', async (t) => {
  const cwd = scratch(t)
  const disk = textBytes(200_000, 1)
  writeFileSync(join(cwd, 'disk.img'), disk)
  const script = [
    'cat disk.img | hexz build /dev/stdin -o /dev/stdout > a.st',
    'hexz build /dev/fd/3 3< disk.img > b.st',
    'cmp a.st b.st',
    'cat a.st | hexz verify /dev/stdin > /dev/null',
    'hexz extract /dev/fd/4 4< a.st > back.img'
  ].join(' && ')
  const { code, stderr } = await runShell(`set -o pipefail; ${script}`, { cwd })
  t.equal(code, 0, stderr)
  t.ok(readFileSync(join(cwd, 'back.img')).equals(disk))
  const closed = await runCli(['build', '/dev/fd/77', '-o', 'x.st'], { cwd })
  failsWith(
    t,
    closed,
    { code: 3, message: "/dev/fd/77 can't be read: EBADF: bad file descriptor, fstat" },
    'closed'
  )
  const verified = await runCli(['verify', '/dev/fd/77'], { cwd })
  failsWith(
    t,
    verified,
    { code: 3, message: "/dev/fd/77 can't be read: EBADF: bad file descriptor, fstat" },
    'closed'
  )
})

await t.test('URLs are no sources of a build, and no targets', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'small'), small)
  const source = "a URL is no source; let another program fetch it: --from-command 'curl -fsS URL'"
  const target = 'a URL is no target; write to - and let another program send it: | curl -T - URL'
  await eachOf(
    [
      ['build https://user:secret@host/disk.img -o x.st', source],
      ['build small --memory http://host/ram.bin -o x.st', source],
      ['predict nbd://host/disk', source],
      ['train s3://bucket/a -o x.dict', source],
      ['build small -o https://user:secret@host/x.st', target],
      ['build small s3://bucket/x.st', target],
      ['extract small -o HTTP://host/x.img', target]
    ] as const,
    async ([words, message]) => {
      failsWith(t, await runCli(words.split(' '), { cwd }), { code: 2, message }, words)
    }
  )
  t.strictSame(Object.keys(contentsOf(cwd)), ['small'])
})
