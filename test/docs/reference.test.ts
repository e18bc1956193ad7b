import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { helpOf } from '../../lib/commands/command.js'
import { differentExit } from '../../lib/commands/diff.js'
import { commands } from '../../lib/commands/index.js'
import { exitCodes } from '../../lib/errors.js'
import { phraseBytes } from '../helpers/data.js'
import { serveFile } from '../helpers/http-server.js'
import { hexz, makeTools, root, run, skipUnless } from './run.js'

const read = (name: string): string => readFileSync(join(root, 'docs', name), 'utf8')
const cliDoc = read('cli.md')
const image = join(root, 'samples', 'disk.img')

/** The text under a heading, up to the next heading of any level. */
function section(text: string, heading: string): string {
  const start = text.indexOf(`\n${heading}\n`)
  if (start === -1) throw new Error(`there is no heading "${heading}"`)
  return text.slice(start + heading.length + 2).split(/\n#+ /)[0] ?? ''
}

/** The cells of each row of the tables in a text, their headings and rulers left out. */
function rows(text: string): string[][] {
  const lines = text.split('\n').filter((line) => line.startsWith('|'))
  const cells = lines.map((line) => line.slice(1, line.lastIndexOf('|')).split('|'))
  return cells
    .map((row) => row.map((cell) => cell.trim()))
    .filter(([first = ''], i) => {
      const isRuler = /^-+$/.test(first)
      const isHeading = /^-+$/.test(cells[i + 1]?.[0]?.trim() ?? '')
      return !isRuler && !isHeading
    })
}

const withoutTicks = (text: string): string => text.replaceAll('`', '')

void t.test('each flag of --help is in docs/cli.md, and back', async (t) => {
  const documented = new Map(
    Object.keys(commands).map((name) => [
      name,
      rows(section(cliDoc, `## ${name}`)).map(([flag = '']) => withoutTicks(flag))
    ])
  )
  documented.set('pack', [...(documented.get('build') ?? []), ...(documented.get('pack') ?? [])])
  for (const [name, load] of Object.entries(commands)) {
    const help = helpOf(await load()).split('\n')
    const flags = help.flatMap(
      (line) => /^ {2,6}((?:-\w, )?--[a-z-]+(?: [A-Z]+)?)(?: {2}|$)/.exec(line)?.[1] ?? []
    )
    t.ok(flags.length > 0)
    t.same(documented.get(name), flags, name)
  }
  const headings = [...cliDoc.matchAll(/^## ([a-z]+)$/gm)].map((match) => match[1])
  t.same(headings, Object.keys(commands), 'each command has its section, and no other has')
})

void t.test('the codes of lib/errors.ts are those of docs/errors.md', (t) => {
  const classes: Record<number, string> = {
    2: 'UsageError',
    3: 'SourceError',
    4: 'TargetError',
    5: 'CorruptError',
    6: 'KeyError',
    7: 'UnsupportedError',
    8: 'LimitError'
  }
  const table = rows(read('errors.md')).filter(([code = '']) => code.startsWith('`'))
  t.same(
    table.map(([code = '', exit, className]) => [withoutTicks(code), Number(exit), className]),
    Object.entries(exitCodes).map(([code, exit]) => [
      code,
      exit,
      code === 'SYSTEM_LIMIT' ? 'LimitError' : classes[exit]
    ])
  )
  for (const [code = '', , , when = '', what = ''] of table)
    t.ok(when.length > 10 && (what.length > 5 || code.includes('KEY_')), `${code} is explained`)

  const others = rows(read('errors.md')).filter(([code = '']) => !code.startsWith('`'))
  t.same(
    others.map(([exit]) => exit),
    ['1', '7', '9', '129', '130', '131', '143', '152', '141']
  )
  const listed = rows(section(cliDoc, '## Exit codes')).flatMap(([exit = '']) => exit.split(', '))
  const known = new Set([0, 1, ...Object.values(exitCodes), differentExit, 129, 130, 131, 143, 152, 141])
  t.same(listed.map(Number), [...known])
  t.end()
})

void t.test('each dependency is in docs/decisions.md with its licence', (t) => {
  const readJson = (name: string): unknown => JSON.parse(readFileSync(join(root, name), 'utf8'))
  const { dependencies, devDependencies } = readJson('package.json') as Record<string, object>
  const names = [...Object.keys(dependencies ?? {}), ...Object.keys(devDependencies ?? {})]
  const licences = names.map((name) => {
    const { license } = readJson(`node_modules/${name}/package.json`) as { license: string }
    return [name, license.replace(/^\((.*) OR (.*)\)$/, '$1 or $2')]
  })
  t.same(
    rows(section(read('decisions.md'), '## Dependencies')).map(([name = '', licence]) => [
      withoutTicks(name),
      licence
    ]),
    licences
  )
  t.end()
})

/** Paths of the values in a JSON object: `streams[].name`. An empty list has none. */
function pathsOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((item) => pathsOf(item, `${path}[]`)))]
  if (typeof value !== 'object' || value === null) return [path]
  return Object.entries(value).flatMap(([key, item]) => pathsOf(item, path === '' ? key : `${path}.${key}`))
}

/** The documented keys: those that are always there, and those that may be absent. */
function keysOf(heading: string): { always: string[]; sometimes: string[] } {
  const table = rows(section(cliDoc, heading)).map(
    ([key = '', value = '']) => [withoutTicks(key), value] as const
  )
  const isOptional = (value: string): boolean => value.includes('absent')
  return {
    always: table.filter(([, value]) => !isOptional(value)).map(([key]) => key),
    sometimes: table.filter(([, value]) => isOptional(value)).map(([key]) => key)
  }
}

void t.test('the keys of the JSON are those of docs/cli.md', async (t) => {
  const folder = t.testdir()
  const at = (name: string): string => join(folder, name)
  /** @param extra keys that may be absent, and are there */
  const holds = (heading: string, json: string, extra: readonly string[] = []): void => {
    const { always, sometimes } = keysOf(heading)
    const found = pathsOf(JSON.parse(json))
    const expected = [...always, ...sometimes.filter((key) => extra.includes(key))]
    t.same(found.toSorted(), expected.toSorted(), heading)
  }

  const built = await hexz(['build', image, '-o', at('disk.st'), '--json', '--timings', '--memory', image])
  const { sometimes } = keysOf('### JSON of build and pack')
  const timings = sometimes.filter((key) => key.startsWith('timings.'))
  holds('### JSON of build and pack', built.stdout.toString(), timings)
  t.equal(built.stderr, '')
  const piped = await hexz(['pack', image, '--json', '--memory', image])
  holds('### JSON of build and pack', piped.stderr)
  t.ok(piped.stdout.equals(readFileSync(at('disk.st'))), 'the summary is not in the way of the snapshot')

  holds('### JSON of predict', (await hexz(['predict', image, '--json'])).stdout.toString())
  writeFileSync(at('phrases'), phraseBytes(4 * 1024 * 1024, 1))
  const trained = await hexz(['train', at('phrases'), '-o', at('shared.dict'), '--json'])
  holds('### JSON of train', trained.stdout.toString())

  const extracted = await hexz(['extract', at('disk.st'), '-o', at('copy'), '--json'])
  holds('### JSON of extract', extracted.stdout.toString())
  holds('### JSON of extract', (await hexz(['extract', at('disk.st'), '--length', '1', '--json'])).stderr)
  holds('### JSON of inspect', (await hexz(['inspect', at('disk.st'), '--json'])).stdout.toString())
  holds('### JSON of verify', (await hexz(['verify', at('disk.st'), '--json'])).stdout.toString())

  const inPlace = await hexz(['extract', at('disk.st'), '-o', at('copy'), '--json', '--in-place'])
  holds('### JSON of extract', inPlace.stdout.toString(), ['writtenSize'])
  const { url } = await serveFile(t, readFileSync(at('disk.st')))
  const fetched = await hexz(['extract', url, '-o', at('fetched'), '--json'])
  holds('### JSON of extract', fetched.stdout.toString(), ['fetchedSize', 'requestCount'])
  writeFileSync(at('copy'), 'x')
  await hexz(['build', at('copy'), '-o', at('small.st')])
  holds('### JSON of diff', (await hexz(['diff', at('disk.st'), at('small.st'), '--json'])).stdout.toString())

  const bytes = readFileSync(at('disk.st'))
  bytes[50_000] = (bytes[50_000] ?? 0) ^ 1
  writeFileSync(at('bad.st'), bytes)
  const recovered = await hexz(['recover', at('bad.st'), '-o', at('saved'), '--json'])
  holds('### JSON of recover', recovered.stdout.toString(), ['streamSize'])
  const locked = await hexz(['build', image, '-e', '-o', at('locked.st')], {
    env: { HEXZ_PASSPHRASE: 'one' }
  })
  t.equal(locked.exitCode, 0)
  holds('### JSON of key list', (await hexz(['key', 'list', at('locked.st'), '--json'])).stdout.toString())
  const error = await hexz(['verify', at('bad.st'), '--json'])
  holds('### JSON of an error', error.stderr, ['offset'])
  t.equal(error.exitCode, 5)
  const short = await hexz(['build', image, '--expect-size', '3M', '--json'])
  holds('### JSON of an error', short.stderr, ['expected', 'found'])
  t.equal(short.exitCode, 3)

  const slow = `(cat '${image}'; sleep 1.3; cat '${image}') | hexz build - --progress json 2>&1 > /dev/null | head -n 1`
  const shown = await run('sh', ['-c', slow], { path: makeTools(at('bin')) })
  holds('### JSON of progress', shown.stdout.toString(), ['stored'])
})

void t.test('a pipe with a name is read like standard input', { skip: skipUnless('bash') }, async (t) => {
  const path = makeTools(join(t.testdir(), 'bin'))
  const { stdout, stderr } = await run('bash', ['-c', `hexz verify <(hexz build '${image}' 2> /dev/null)`], {
    path
  })
  t.match(stdout.toString(), /^\/dev\/fd\/\d+: intact, 2 MiB in /)
  t.equal(stderr, '')
})
