import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'
import { modeLike, partialPath } from '../../lib/target/partial.js'
import { openTarget } from '../../lib/target/target.js'
import { textBytes } from '../helpers/data.js'
import { failsWith, runCli, runShell, scratch } from '../helpers/run-cli.js'

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8)

await t.test('the name of a partial file fits where the name of the target does', (t) => {
  t.equal(partialPath('a/b.st'), 'a/b.st.partial')
  const names = [
    'x'.repeat(247),
    'x'.repeat(248),
    'x'.repeat(255),
    `${'x'.repeat(254)}y`,
    '東'.repeat(85),
    `a${'東'.repeat(84)}bc`,
    `ab${'𝄞'.repeat(63)}`
  ]
  const partials = names.map((name) => basename(partialPath(join('folder', name))))
  for (const [i, partial] of partials.entries()) {
    t.ok(Buffer.byteLength(partial) <= 255, `${Buffer.byteLength(names[i] ?? '')} bytes`)
    t.match(partial, /\.partial$/)
    t.notMatch(partial, '\ufffd', 'it is not cut inside a character')
  }
  t.equal(partials[0], `${names[0]}.partial`)
  t.equal(new Set(partials).size, names.length, 'each has its own')
  t.end()
})

await t.test('targets with names of 248 to 255 bytes', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), textBytes(10_000, 1))
  for (const name of ['n'.repeat(248), 'm'.repeat(255), '東'.repeat(85)]) {
    t.match(await runCli(['build', 'disk.img', '-o', name], { cwd }), { code: 0 })
    t.match(await runCli(['extract', name, '-o', 'back.img', '--force'], { cwd }), { code: 0 })
    t.ok(readFileSync(join(cwd, 'back.img')).equals(readFileSync(join(cwd, 'disk.img'))))
  }
  const name = 'k'.repeat(255)
  const partial = basename(partialPath(join(cwd, name)))
  writeFileSync(join(cwd, partial), 'stale')
  const message = `${partial} exists: another hexz is writing it, or one was killed; --force removes it`
  failsWith(t, await runCli(['build', 'disk.img', '-o', name], { cwd }), { code: 4, message }, 'a stale one')
  t.match(await runCli(['build', 'disk.img', '-o', name, '--force'], { cwd }), { code: 0 })
  t.notOk(existsSync(join(cwd, partial)), 'it was taken over')
})

await t.test('who may not read the source may not read the target', async (t) => {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  const cases: readonly (readonly [mode: number, umask: string, target: string])[] = [
    [0o600, '022', '600'],
    [0o640, '022', '640'],
    [0o644, '002', '664']
  ]
  for (const [mode, umask, expected] of cases) {
    writeFileSync(at('disk.img'), textBytes(10_000, 1))
    chmodSync(at('disk.img'), mode)
    const script = [
      `umask ${umask}`,
      'rm -f *.st *.out',
      'hexz build disk.img -o a.st',
      'hexz build - -o b.st < disk.img',
      'hexz extract a.st -o a.out',
      'hexz extract - -o b.out < a.st',
      'hexz recover a.st -o c.out'
    ].join(' && ')
    t.match(await runShell(script, { cwd }), { code: 0 })
    const names = ['a.st', 'b.st', 'a.out', 'b.out', 'c.out']
    t.strictSame(
      names.map((name) => modeOf(at(name))),
      names.map(() => expected),
      `source ${mode.toString(8)}, umask ${umask}`
    )
  }
})

await t.test('of several sources the most private counts; pipes do not', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), textBytes(10_000, 1), { mode: 0o644 })
  writeFileSync(join(cwd, 'ram.bin'), textBytes(10_000, 2), { mode: 0o600 })
  const script = [
    'umask 022',
    'hexz build disk.img --memory ram.bin -o a.st',
    'cat ram.bin | hexz build - -o b.st',
    'hexz build disk.img --dictionary ram.bin -p eda -o c.st'
  ].join(' && ')
  t.match(await runShell(script, { cwd }), { code: 0 })
  t.equal(modeOf(join(cwd, 'a.st')), '600')
  t.equal(modeOf(join(cwd, 'b.st')), '644')
  t.equal(modeOf(join(cwd, 'c.st')), '600', 'a dictionary goes into the snapshot')
})

await t.test('groups', (t) => {
  const folder = t.testdir({ file: 'x' })
  const path = join(folder, 'file')
  chmodSync(path, 0o640)
  const stats = statSync(path)
  t.equal(modeLike([stats], stats.gid), 0o660, 'the group of the source')
  t.equal(modeLike([stats], stats.gid + 1), 0o600, 'another group was not allowed to read')
  chmodSync(path, 0o604)
  t.equal(modeLike([statSync(path)], stats.gid), 0o606, 'others but not the group')
  chmodSync(path, 0o400)
  t.equal(modeLike([statSync(path)], stats.gid), 0o600, 'the owner may always write')
  t.equal(modeLike([], 0), 0o666)
  t.equal(modeLike([undefined, statSync('/dev/null')], 0), 0o666)
  t.end()
})

await t.test('a partial file is private from its first byte', async (t) => {
  const folder = t.testdir()
  const at = (name: string): string => join(folder, name)
  writeFileSync(at('secret'), 'secret', { mode: 0o600 })
  writeFileSync(at('old.st'), 'old', { mode: 0o600 })
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))
  // A watch of the folder would come too late; the mode that the system is asked for is what counts.
  for (const [path, options] of [
    [at('new.st'), { sources: [at('secret')] }],
    [at('old.st'), { force: true }]
  ] as const) {
    const target = await openTarget(path, options)
    t.equal(modeOf(`${path}.partial`), '600', 'before anything is written')
    await target.write([Buffer.from('abc')])
    await target.commit()
    t.equal(modeOf(path), '600')
    t.equal(readFileSync(path, 'utf8'), 'abc')
  }
})

const isRoot = process.getuid?.() === 0

await t.test(
  'a file that root replaces keeps its owner, group and mode',
  { skip: isRoot ? false : 'needs root' },
  async (t) => {
    const folder = t.testdir()
    const path = join(folder, 'a.st')
    writeFileSync(path, 'old')
    chownSync(path, 65534, 65533)
    chmodSync(path, 0o640)
    const target = await openTarget(path, { force: true })
    await target.write([Buffer.from('new')])
    await target.commit()
    const { uid, gid, mode } = statSync(path)
    t.strictSame([uid, gid, mode & 0o777], [65534, 65533, 0o640])
    mkdirSync(join(folder, 'shared'))
    chownSync(join(folder, 'shared'), 0, 65533)
    chmodSync(join(folder, 'shared'), 0o2775)
    const inShared = await openTarget(join(folder, 'shared', 'b.st'), { sources: [path] })
    await inShared.commit()
    t.equal(modeOf(join(folder, 'shared', 'b.st')), '640', 'the folder gives the group of the source')
  }
)
