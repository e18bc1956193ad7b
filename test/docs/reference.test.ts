import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { helpOf } from '../../lib/commands/command.js'
import { commands } from '../../lib/commands/index.js'
import { exitCodes, type ErrorCode } from '../../lib/errors.js'
import { cli, hexz, makeTools, root, run, skipUnless } from './run.js'

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
    Object.entries(exitCodes).map(([code, exit]) => [code, exit, classes[exit]])
  )
  for (const [code = '', , , when = '', what = ''] of table)
    t.ok(when.length > 10 && (what.length > 5 || code.includes('KEY_')), `${code} is explained`)

  const others = rows(read('errors.md')).filter(([code = '']) => !code.startsWith('`'))
  t.same(
    others.map(([exit]) => exit),
    ['1', '129', '130', '143', '141']
  )
  const listed = rows(section(cliDoc, '## Exit codes')).flatMap(([exit = '']) => exit.split(', '))
  const known = new Set([0, 1, ...Object.values(exitCodes), 129, 130, 143, 141])
  t.same(listed.map(Number), [...known])
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

  const built = await hexz(['build', image, '-o', at('disk.st'), '--json', '--memory', image])
  holds('### JSON of build and pack', built.stdout.toString())
  t.equal(built.stderr, '')
  const piped = await hexz(['pack', image, '--json', '--memory', image])
  holds('### JSON of build and pack', piped.stderr)
  t.ok(piped.stdout.equals(readFileSync(at('disk.st'))), 'the summary is not in the way of the snapshot')

  const extracted = await hexz(['extract', at('disk.st'), '-o', at('copy'), '--json'])
  holds('### JSON of extract', extracted.stdout.toString())
  holds('### JSON of extract', (await hexz(['extract', at('disk.st'), '--length', '1', '--json'])).stderr)
  holds('### JSON of inspect', (await hexz(['inspect', at('disk.st'), '--json'])).stdout.toString())
  holds('### JSON of verify', (await hexz(['verify', at('disk.st'), '--json'])).stdout.toString())

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

void t.test('a code on the command line is the one of the library', async (t) => {
  const missing = await hexz(['verify', 'missing.st', '--json'])
  const { code, exitCode } = JSON.parse(missing.stderr) as { code: ErrorCode; exitCode: number }
  t.same([code, exitCode, missing.exitCode], ['SOURCE_MISSING', exitCodes.SOURCE_MISSING, 3])
})

void t.test('- is standard input and output, also as the value of a flag', async (t) => {
  const input = readFileSync(image)
  const folder = t.testdir()
  const direct = await hexz(['build', image])
  const spelled = [
    ['build', '-s', '-', '-o', '-'],
    ['build', '--source', '-', '-']
  ]
  for (const args of spelled) {
    const { exitCode, stdout } = await hexz(args, { input })
    t.equal(exitCode, 0)
    t.ok(stdout.equals(direct.stdout), args.join(' '))
  }
  const twice = await hexz(['build', '-', '--memory', '-', '-o', join(folder, 'x.st')], { input })
  t.equal(twice.stderr, 'hexz: standard input cannot be both the source and the memory image\n')
  t.equal(twice.exitCode, 2)
  const back = await hexz(['extract', '--source', '-'], { input: direct.stdout })
  t.ok(back.stdout.equals(input))
})

void t.test('a pipe with a name is read like standard input', { skip: skipUnless('bash') }, async (t) => {
  const path = makeTools(join(t.testdir(), 'bin'))
  const { stdout, stderr } = await run('bash', ['-c', `hexz verify <(hexz build '${image}' 2> /dev/null)`], {
    path
  })
  t.match(stdout.toString(), /^\/dev\/fd\/\d+: intact, 2 MiB in /)
  t.equal(stderr, '')
})

void t.test('a signal stops in order', async (t) => {
  const cwd = t.testdir()
  const partial = join(cwd, 'disk.st.partial')
  for (const [signal, exitCode] of [
    ['SIGHUP', 129],
    ['SIGINT', 130],
    ['SIGTERM', 143]
  ] as const) {
    const child = spawn(process.execPath, [cli, 'build', '-', '-o', 'disk.st'], { cwd })
    const said = text(child.stderr)
    while (!existsSync(partial)) await setTimeout(20)
    child.kill(signal)
    const [, diedOf] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
    t.equal(diedOf, signal)
    t.equal(128 + constants.signals[signal], exitCode, 'as a shell shows it')
    t.equal(await said, `hexz: stopped by ${signal} before it was done\n`)
    t.same(readdirSync(cwd), [], 'nothing is left')
  }
})
