import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import t, { type Test } from 'tap'
import { hexz, makeTools, root, run, skipUnless } from '../docs/run.js'
import { startSshd } from './sshd.js'

const script = join(root, 'samples', 'remote.sh')

/** A disk with a name that a shell would trip over, and a folder for the results. */
function prepare(t: Test): { folder: string; disk: string; results: string } {
  const folder = t.testdir({ results: {} })
  const disk = join(folder, "a disk's $image.img")
  copyFileSync(join(root, 'samples', 'disk.img'), disk)
  return { folder, disk, results: join(folder, 'results') }
}

/** Stands for ssh: runs the command here, and notes it down. */
const shim = (log: string): string => `host=$1; shift; printf '%s: %s\\n' "$host" "$*" >> '${log}'\n`

const options = { skip: skipUnless('dd', 'stat', 'cmp', 'bash') }

void t.test('remote.sh, with a stand-in for ssh', options, async (t) => {
  const { folder, disk, results } = prepare(t)
  const log = join(folder, 'log')
  const path = makeTools(join(folder, 'bin'), { ssh: `${shim(log)}exec sh -c "$*"` })

  const result = await run(script, ['backup@far', disk, results], { path })
  t.equal(
    result.stdout.toString().split('\n').at(-2),
    `here.st and there.st are the same 2097152 bytes of backup@far:${disk}`
  )
  t.equal(result.exitCode, 0, result.stderr)
  const direct = await hexz(['build', disk])
  t.ok(readFileSync(join(results, 'here.st')).equals(direct.stdout), 'built here')
  t.ok(readFileSync(join(results, 'there.st')).equals(direct.stdout), 'built there')

  const commands = readFileSync(log, 'utf8').trimEnd().split('\n')
  t.same(
    commands.map((line) => line.split(' ').slice(0, 2).join(' ')),
    ['backup@far: blockdev', 'backup@far: dd', 'backup@far: hexz']
  )
})

void t.test('remote.sh, when the link is lost while the disk comes over', options, async (t) => {
  const { folder, disk, results } = prepare(t)
  const cut = 'case "$*" in dd*) sh -c "$*" | head -c 1000000;; *) exec sh -c "$*";; esac'
  const path = makeTools(join(folder, 'bin'), { ssh: shim(join(folder, 'log')) + cut })

  const result = await run(script, ['far', disk, results], { path })
  t.equal(result.exitCode, 3)
  t.match(result.stderr, 'hexz: standard input ended after 1000000 of 2097152 bytes\n')
  for (const name of ['here.st', 'here.st.partial', 'there.st'])
    t.notOk(existsSync(join(results, name)), `no ${name}`)
})

void t.test('remote.sh, when the link is lost while the snapshot comes over', options, async (t) => {
  const { folder, disk, results } = prepare(t)
  const cut = 'case "$*" in hexz*) sh -c "$*" 2> /dev/null | head -c 100000;; *) exec sh -c "$*";; esac'
  const path = makeTools(join(folder, 'bin'), { ssh: shim(join(folder, 'log')) + cut })

  const result = await run(script, ['far', disk, results], { path })
  t.equal(result.exitCode, 5)
  t.match(result.stderr, /^hexz: .*there\.st is incomplete: it does not end with a footer/m)
})

void t.test('remote.sh, through a real sshd', options, async (t) => {
  const { folder, disk, results } = prepare(t)
  const far = makeTools(join(folder, 'far'))
  const server = await startSshd(folder, [far, process.env.PATH].join(delimiter))
  if (typeof server === 'string') {
    t.pass('skipped', { skip: server })
    return
  }
  t.teardown(server.stop)
  const path = makeTools(join(folder, 'bin'), {
    ssh: `exec '${server.ssh}' -F '${server.clientConfig}' "$@"`
  })
  const result = await run(script, ['far', disk, results], { path })
  t.equal(result.exitCode, 0, result.stderr)
  t.equal(
    result.stdout.toString().split('\n').at(-2),
    `here.st and there.st are the same 2097152 bytes of far:${disk}`
  )
  const direct = await hexz(['build', disk])
  t.ok(readFileSync(join(results, 'here.st')).equals(direct.stdout), 'built here')
  t.ok(readFileSync(join(results, 'there.st')).equals(direct.stdout), 'built there')
})
