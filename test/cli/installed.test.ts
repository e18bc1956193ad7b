import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { build } from '../../lib/index.js'
import { root, run } from '../docs/run.js'
import { textBytes } from '../helpers/data.js'
import { failsWith, runCli } from '../helpers/run-cli.js'

/** What is missing around hexz: Node, and the native parts of its packages. */

interface Package {
  readonly engines: { readonly node: string }
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}
const packageOf = (folder: string): Package =>
  JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Package

await t.test('a Node that is too old is told in one line', async (t) => {
  const needed = packageOf(root).engines.node.replace('>=', '')
  const [major = 0, minor = 0] = needed.split('.').map(Number)
  const asVersion = (node: string): Promise<Awaited<ReturnType<typeof runCli>>> => {
    const code = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${node}' } })`
    return runCli(['--version'], {
      nodeOptions: ['--import', `data:text/javascript,${encodeURIComponent(code)}`]
    })
  }
  for (const node of ['12.22.12', '18.20.8', `${major}.${minor - 1}.9`]) {
    const message = `needs Node.js ${needed} or newer, and this is ${node}: install a newer one, see https://nodejs.org/`
    failsWith(t, await asVersion(node), { code: 7, message }, node)
  }
  for (const node of [`${major}.${minor}.0`, `${major + 1}.0.0`, '100.1.1'])
    t.equal((await asVersion(node)).code, 0, node)
  const code = readFileSync(join(root, 'dist', 'cli.js'), 'utf8')
  t.notMatch(code, /^import |await|\?\?|\?\./m, 'an old Node can read the file')
})

const native = ['@napi-rs/blake-hash', '@mongodb-js/zstd', '@toondepauw/node-zstd', 'lz4-napi'] as const
const system = `${process.platform}-${process.arch}`

await t.test('native parts that are missing, or of another system', async (t) => {
  // Not inside this project, whose packages would be found.
  const folder = mkdtempSync(join(tmpdir(), 'hexz-test-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const at = (name: string): string => join(folder, name)
  const modules = (name: string): string => join('node_modules', name)
  const platformPackages = (name: string): string[] =>
    Object.keys(packageOf(join(root, modules(name))).optionalDependencies ?? {}).filter((part) =>
      existsSync(join(root, modules(part)))
    )
  const names = Object.keys(packageOf(root).dependencies ?? {})
  for (const name of [...names, ...names.flatMap(platformPackages)])
    cpSync(join(root, modules(name)), at(modules(name)), { recursive: true })
  for (const name of ['package.json', 'dist/cli.js', 'dist/lib', 'dist/transforms'])
    cpSync(join(root, name), at(name), { recursive: true })

  writeFileSync(at('text'), textBytes(300_000, 1))
  const options = { source: at('text'), concurrency: 1 }
  await build({ ...options, target: at('lz4.st') })
  await build({ ...options, target: at('zstd.st'), profile: 'ml', dictionary: 'off' })
  const hexz = async (words: string): Promise<Awaited<ReturnType<typeof runCli>>> => {
    const { exitCode, ...rest } = await run(process.execPath, [at('dist/cli.js'), ...words.split(' ')], {
      cwd: folder
    })
    return { code: exitCode, ...rest }
  }
  const before = readdirSync(folder)
  /** Commands that need each of them. */
  const commands: Record<(typeof native)[number], readonly string[]> = {
    '@napi-rs/blake-hash': ['build text -o new', 'inspect lz4.st', 'recover lz4.st -o new'],
    '@mongodb-js/zstd': ['build text -o new', 'verify lz4.st', 'recover zstd.st -o new'],
    '@toondepauw/node-zstd': ['build text -p ml -o new', 'extract zstd.st -o new', 'recover zstd.st -o new'],
    'lz4-napi': ['build text -o new', 'extract lz4.st -o new', 'recover lz4.st -o new', 'verify lz4.st']
  }
  t.equal((await hexz('verify zstd.st')).code, 0, 'it works, as it is')
  for (const name of native) {
    const message = `the native part of ${name} for ${system} is missing: run npm install without --omit=optional on this system`
    const parts = platformPackages(name).map(modules)
    for (const [i, part] of parts.entries()) renameSync(at(part), at(`aside-${i}`))
    for (const words of commands[name])
      failsWith(t, await hexz(words), { code: 7, message }, `${words} without ${name}`)
    t.equal((await hexz('build --help')).code, 0)
    for (const [i, part] of parts.entries()) renameSync(at(`aside-${i}`), at(part))
  }
  for (const name of native)
    for (const part of platformPackages(name).map(modules))
      for (const file of readdirSync(at(part)).filter((file) => file.endsWith('.node')))
        writeFileSync(at(join(part, file)), 'of another system')
  failsWith(
    t,
    await hexz('build text -o new'),
    {
      code: 7,
      message:
        /the native part of @mongodb-js\/zstd for [a-z0-9-]+ can't be loaded \(.+\): run npm install without --omit=optional on this system\n$/
    },
    'of another system'
  )
  t.strictSame(readdirSync(folder), before, 'nothing is made')
})
