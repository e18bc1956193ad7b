import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { commands } from '../../lib/commands/index.js'
import { parseArguments } from '../../lib/commands/parse-arguments.js'
import { parseSize } from '../../lib/commands/options.js'
import { contentsOf, runCli, scratch } from '../helpers/run-cli.js'

const build = await commands.build?.()
if (build === undefined) throw new Error('there is no command build')

/** Words of `hexz build`, and what reaches the command: words, then the flags that were given. */
const lines: readonly (readonly [argv: string[], input: string[], flags: Record<string, unknown>])[] = [
  [['a.img', '-ox.st'], ['a.img'], { output: 'x.st' }],
  [['a.img', '-o=x.st'], ['a.img'], { output: 'x.st' }],
  [['a.img', '-o', 'x.st'], ['a.img'], { output: 'x.st' }],
  [['a.img', '-efox.st'], ['a.img'], { encrypt: true, force: true, output: 'x.st' }],
  [['a.img', '-ef', '--output=x=y'], ['a.img'], { encrypt: true, force: true, output: 'x=y' }],
  // What meow's parser would change, or swallow.
  [['--cdc', 'true', '-o', 'x.st'], ['true'], { cdc: true, output: 'x.st' }],
  [['--cdc', 'false', 'x.st'], ['false', 'x.st'], { cdc: true }],
  [['a.img', '-o', '"out.st"'], ['a.img'], { output: '"out.st"' }],
  [['a.img', "--output='out.st'"], ['a.img'], { output: "'out.st'" }],
  [["'a.img'", '"'], ["'a.img'", '"'], {}],
  [['a.img', '-o', '@0'], ['a.img'], { output: '@0' }],
  [['1e3', '-o', '007'], ['1e3'], { output: '007' }],
  [['a.img', '--recipient', 'a', '--recipient', "'b'"], ['a.img'], { recipient: ['a', "'b'"] }],
  [['-o', '-', '-'], ['-'], { output: '-' }],
  [['-f', '--', '--cdc', '-'], ['--cdc', '-'], { force: true }],
  [['--', 'a', '--'], ['a', '--'], {}],
  [['--source=a b', ' x '], [' x '], { source: 'a b' }],
  [['a\nb', '-o', 'ü=\u00a0'], ['a\nb'], { output: 'ü=\u00a0' }]
]

await t.test('each value reaches the command as it was typed', (t) => {
  for (const [argv, input, expected] of lines) {
    const { input: found, flags } = parseArguments(build, argv)
    const given = Object.fromEntries(
      Object.entries(flags).filter(([, value]) => value !== undefined && value !== false)
    )
    if (!('recipient' in expected) && Array.isArray(given.recipient)) delete given.recipient
    t.strictSame([found, given], [input, expected], JSON.stringify(argv))
  }
  t.end()
})

await t.test('a name in quotes is that name', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'small.txt'), 'three\nshort\nlines\n')
  writeFileSync(join(cwd, 'out.st'), 'precious')
  const { code } = await runCli(['build', 'small.txt', '-f', '-o', '"out.st"'], { cwd })
  t.equal(code, 0)
  t.equal(readFileSync(join(cwd, 'out.st'), 'utf8'), 'precious', 'the file without quotes is as it was')
  t.strictSame(Object.keys(contentsOf(cwd)), ['"out.st"', 'out.st', 'small.txt'])
})

await t.test('units of a size', (t) => {
  const sizes: readonly (readonly [text: string, size: number])[] = [
    ['512', 512],
    ['512b', 512],
    ['2k', 2048],
    ['2Ki', 2048],
    ['2KiB', 2048],
    ['2kb', 2000],
    ['2Mi', 2 * 1024 ** 2],
    ['1.5G', 1.5 * 1024 ** 3],
    ['1 TiB', 1024 ** 4],
    ['3PB', 3 * 1000 ** 5]
  ]
  for (const [text, size] of sizes) t.equal(parseSize(text, '--size'), size, text)
  t.end()
})
