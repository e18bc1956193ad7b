import type { ChildProcess } from 'node:child_process'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import t, { type Test } from 'tap'
import { streamFile } from '../../lib/commands/mount.js'
import { build } from '../../lib/index.js'
import { makeTools } from '../docs/run.js'
import { randomBytes } from '../helpers/data.js'
import { skipUnlessFuse } from '../helpers/fuse.js'
import { scratch, startCli, until } from '../helpers/run-cli.js'

await t.test('a name from a snapshot is a file in the folder, or refused', (t) => {
  for (const name of ['disk', 'memory', 'a-b_c.1', '0'])
    t.equal(streamFile('mnt', name), join('mnt', name), name)
  for (const name of [
    '../evil',
    '..',
    '.',
    '',
    '/etc',
    'a/b',
    '-o',
    '.hidden',
    'A',
    'a\nb',
    'a\0',
    'disk ',
    'é'
  ])
    t.throws(() => streamFile('mnt', name), {
      code: 'BAD_STRUCTURE',
      message: `stream "${name}" has a name that can't be a file's`
    })
  t.end()
})

const disk = randomBytes(300_000, 1)

interface Mounted {
  readonly cwd: string
  readonly child: ChildProcess
  readonly stderr: () => string
  readonly ended: Promise<unknown[]>
}

/** Of a mount that is being taken away nothing can be told for a moment. */
function deviceOf(path: string): number | undefined {
  try {
    return statSync(path).dev
  } catch {
    return undefined
  }
}

/** Mounts a snapshot in the folder `mnt`; nothing is mounted when the test ends. */
async function mounted(
  t: Test,
  cwd: string,
  env: Record<string, string> = {},
  folder: readonly string[] = ['mnt']
): Promise<Mounted> {
  const path = folder.at(-1) ?? ''
  mkdirSync(join(cwd, path), { recursive: true })
  const child = startCli(['mount', 'a.st', ...folder], { cwd, env })
  const ended = once(child, 'close')
  let stderr = ''
  let stdout = ''
  child.stderr?.on('data', (text: Buffer) => (stderr += text.toString()))
  child.stdout?.on('data', (text: Buffer) => (stdout += text.toString()))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await until('it is unmounted', () => deviceOf(join(cwd, path)) === deviceOf(cwd))
  })
  await until('the file is told of', () => stdout !== '' || child.exitCode !== null)
  t.equal(stdout, `${join(path, 'disk')}\n`, stderr)
  t.ok(readFileSync(join(cwd, path, 'disk')).equals(disk), 'the bytes')
  return { cwd, child, stderr: () => stderr, ended }
}

await t.test('hexz mount leaves nothing', { skip: skipUnlessFuse('bash') }, async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  await build({ source: join(cwd, 'disk.img'), target: join(cwd, 'a.st'), concurrency: 1 })
  const isFree = (): boolean => deviceOf(join(cwd, 'mnt')) === deviceOf(cwd)
  const temporary = join(cwd, 'x'.repeat(100))
  mkdirSync(temporary)

  await t.test('when it is killed; in a TMPDIR of any length', async (t) => {
    const { child, ended } = await mounted(t, cwd, { TMPDIR: temporary })
    child.kill('SIGKILL')
    t.same(await ended, [null, 'SIGKILL'])
    await until('it is unmounted', isFree)
    t.same(readdirSync(temporary), [])
    t.same(readdirSync(join(cwd, 'mnt')), [], 'the folder can be used')
  })

  await t.test('when it is killed at any moment of its start', async (t) => {
    for (let ms = 100; ms < 800; ms += 50) {
      const child = startCli(['mount', 'a.st', 'mnt'], { cwd, stdio: 'ignore' })
      await new Promise((resolve) => setTimeout(resolve, ms))
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    await new Promise((resolve) => setTimeout(resolve, 500))
    await until('it is unmounted', isFree)
    t.notMatch(execFileSync('ps', ['-eo', 'args']).toString(), join(cwd, 'mnt'), 'no process is left')
  })

  await t.test('when nbdfuse is killed, and tells of it', async (t) => {
    const { stderr, ended } = await mounted(t, cwd)
    const file = join(cwd, 'mnt', 'disk')
    execFileSync('bash', [
      '-c',
      `for p in $(pgrep -x nbdfuse); do tr '\\0' ' ' < /proc/$p/cmdline | grep -q '${file}' && kill -9 $p; done; true`
    ])
    t.same(await ended, [4, null])
    t.equal(stderr(), `hexz: mnt/disk is mounted no more: nbdfuse ended with code 137\n`)
    t.ok(isFree())
  })

  await t.test('when a file of that name lies below; where the folder looks like an option', async (t) => {
    mkdirSync(join(cwd, '-o'))
    writeFileSync(join(cwd, '-o', 'disk'), 'below')
    const { child, ended } = await mounted(t, cwd, {}, ['--', '-o'])
    child.kill('SIGTERM')
    t.same(await ended, [null, 'SIGTERM'])
    t.equal(readFileSync(join(cwd, '-o', 'disk'), 'utf8'), 'below')
  })

  await t.test('nbdfuse gets no passphrase', async (t) => {
    const real = execFileSync('sh', ['-c', 'command -v nbdfuse']).toString().trim()
    const tools = makeTools(join(cwd, 'bin'), { nbdfuse: `env > '${join(cwd, 'env')}'; exec '${real}' "$@"` })
    const PATH = [tools, process.env.PATH].join(delimiter)
    const env = { PATH, HEXZ_PASSPHRASE: 'one', HEXZ_NEW_PASSPHRASE: 'two', KEPT: 'yes' }
    const { child, ended } = await mounted(t, cwd, env, ['--allow-plain', 'mnt'])
    child.kill('SIGTERM')
    await ended
    const seen = readFileSync(join(cwd, 'env'), 'utf8')
    t.match(seen, /^KEPT=yes$/m)
    t.notMatch(seen, /HEXZ_/)
    t.ok(isFree())
  })
})
