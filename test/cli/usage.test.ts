import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { commands } from '../../lib/commands/index.js'
import { build } from '../../lib/index.js'
import { textBytes } from '../helpers/data.js'
import { contentsOf, eachOf, failsWith, runCli, scratch } from '../helpers/run-cli.js'
import { runHere } from '../helpers/run-here.js'

const known = `the commands are ${Object.keys(commands).join(', ')}`

/** Words, and what is said of them. All exit 2, before anything is opened or made. */
const mistakes: readonly (readonly [words: string, message: string])[] = [
  ['bulid disk.img', `there is no command "bulid"; ${known}`],
  ['toString', `there is no command "toString"; ${known}`],
  ['--frobnicate', `there is no command "--frobnicate"; ${known}`],
  ['build', 'no source is named; give a file, a device, or - for standard input'],
  ['build disk.img -o new.st extra', '"extra" is one argument too many'],
  ['build disk.img new.st extra more', '"extra more" is one argument too many'],
  [
    'build disk.img -o new.st --frobnicate',
    '--frobnicate is not an option of hexz build; see hexz build --help'
  ],
  [
    'build disk.img -o new.st --compression zstd',
    '--compression is not an option of hexz build; see hexz build --help'
  ],
  ['build disk.img -o new.st --no-cdc', '--no-cdc is not an option of hexz build; see hexz build --help'],
  [
    'build disk.img -o new.st --expectSize 5',
    '--expectSize is not an option of hexz build; see hexz build --help'
  ],
  ['build disk.img -o new.st -x', '-x is not an option of hexz build; see hexz build --help'],
  ['build disk.img -xo', '-xo is not an option of hexz build; see hexz build --help'],
  ['build disk.img -fx', '-fx is not an option of hexz build; see hexz build --help'],
  ['build disk.img -fo', '--output needs a value; see hexz build --help'],
  ['build disk.img -o=', '--output needs a value; see hexz build --help'],
  ['build disk.img -ff', '--force is given twice'],
  ['build disk.img true -o new.st', '"true" is one argument too many'],
  ['verify a.st --force', '--force is not an option of hexz verify; see hexz verify --help'],
  ['build disk.img -o', '--output needs a value; see hexz build --help'],
  ['build disk.img --output=', '--output needs a value; see hexz build --help'],
  ['build disk.img -o --cdc', '--output needs a value; see hexz build --help'],
  ['build disk.img -o new.st --profile', '--profile needs a value; see hexz build --help'],
  ['build disk.img -o new.st --expect-size -5', '--expect-size needs a value; see hexz build --help'],
  ['build disk.img -o new.st -o other.st', '--output is given twice'],
  ['build disk.img -o new.st --output other.st', '--output is given twice'],
  ['build disk.img -o new.st --cdc --cdc', '--cdc is given twice'],
  ['build disk.img -o new.st --cdc=yes', '--cdc takes no value'],
  [
    'build disk.img -o new.st --profile fast',
    'there is no profile "fast"; the profiles are generic, eda, embedded, ml'
  ],
  [
    'build disk.img -o new.st --profile __proto__',
    'there is no profile "__proto__"; the profiles are generic, eda, embedded, ml'
  ],
  [
    'build disk.img -o new.st --profile Generic',
    'there is no profile "Generic"; the profiles are generic, eda, embedded, ml'
  ],
  [
    'build - -o new.st --memory -',
    'the source and --memory are both standard input, which can be read only once; give one of them another way'
  ],
  ['build disk.img -o new.st --progress loud', '--progress loud is unknown; use auto, plain, json, none'],
  ['build disk.img -o new.st --concurrency 0', '--concurrency 0 is not a whole number from 1 to 64'],
  ['build disk.img -o new.st --concurrency 65', '--concurrency 65 is not a whole number from 1 to 64'],
  ['build disk.img -o new.st --concurrency two', '--concurrency two is not a whole number from 1 to 64'],
  ['build disk.img -o new.st --concurrency 1.5', '--concurrency 1.5 is not a whole number from 1 to 64'],
  ['build disk.img -o new.st --dedup-memory 1023K', '--dedup-memory 1023K is too small; the least is 1M'],
  ['pack disk.img -o new.st --compression gzip', '--compression gzip is unknown; use lz4, zstd or none'],
  ['pack disk.img -o new.st --compression raw', '--compression raw is unknown; use lz4, zstd or none'],
  ['pack disk.img -o new.st --compression zstd --level 20', '--level 20 is not a whole number from 1 to 19'],
  [
    'pack disk.img -o new.st --compression zstd --level fast',
    '--level fast is not a whole number from 1 to 19'
  ],
  ['pack disk.img -o new.st --level 3', 'lz4 has no levels; leave the level out, or use zstd'],
  [
    'pack disk.img -o new.st --min-chunk 4K',
    'smallest and largest chunk size apply to content-defined chunking; --cdc turns it on'
  ],
  [
    'pack disk.img -o new.st --avg-chunk 4K',
    '--avg-chunk applies to content-defined chunking; add --cdc, or use --block-size'
  ],
  [
    'pack disk.img -o new.st --cdc --avg-chunk 4K --block-size 4K',
    '--avg-chunk and --block-size are the same setting; give one'
  ],
  [
    'pack disk.img -o new.st --cdc --min-chunk 8K --avg-chunk 4K',
    'chunk sizes must rise: smallest 8192, average 4096, largest 8192 do not'
  ],
  [
    'pack disk.img -o new.st --cdc --avg-chunk 4K --max-chunk 2K',
    'chunk sizes must rise: smallest 1024, average 4096, largest 2048 do not'
  ],
  [
    'pack disk.img -o new.st --block-size 511',
    'chunk sizes must be whole numbers from 512 bytes to 4 MiB; these are 511, 511, 511'
  ],
  [
    'pack disk.img -o new.st --block-size 5M',
    'chunk sizes must be whole numbers from 512 bytes to 4 MiB; these are 5242880, 5242880, 5242880'
  ],
  ['extract', 'no snapshot is named; give a file, or - for standard input'],
  ['extract a.st --stream memory', 'a.st has no stream "memory"; it has disk'],
  ['extract a.st --offset 5001', '--offset 5001 lies behind the end of stream disk, which has 5000 bytes'],
  ['inspect', 'no snapshot is named; give a file, or - for standard input'],
  ['inspect a.st a.st', '"a.st" is one argument too many'],
  ['verify', 'no snapshot is named; give a file, or - for standard input'],
  ['recover a.st', 'recover writes to a file; name it with -o'],
  ['recover a.st -o -', 'recover writes to a file; name it with -o'],
  ['recover a.st -o new.img --stream ram', 'a.st has no stream "ram"; it has disk']
]

/** Texts that are no sizes, with the same message each. */
const badSizes = ['64X', '1e3', '0x10', '1.3', 'K', '9P', '64KiBs', '1,5M', '.5M', '64 K M', 'Infinity', '٣']

await t.test('a mistake in the words', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), textBytes(5000, 1))
  await build({ source: join(cwd, 'disk.img'), target: join(cwd, 'a.st'), concurrency: 1 })
  const before = contentsOf(cwd)
  for (const [words, message] of mistakes)
    failsWith(t, await runHere(words.split(' '), { cwd }), { code: 2, message }, words)
  for (const text of badSizes) {
    const message = `--expect-size ${text} is not a size; write bytes, or a number with K, M, G or T, such as 64K or 1MiB`
    const result = await runHere(['build', 'disk.img', '-o', 'new.st', '--expect-size', text], { cwd })
    failsWith(t, result, { code: 2, message }, `--expect-size ${text}`)
  }
  // One of each command, as a process.
  const others = mistakes.filter(
    ([words], i) => mistakes.findIndex(([first]) => first.split(' ')[0] === words.split(' ')[0]) === i
  )
  await eachOf(others, async ([words, message]) => {
    failsWith(t, await runCli(words.split(' '), { cwd }), { code: 2, message }, `${words}, as a process`)
  })
  failsWith(
    t,
    await runCli(['build', '', '-o', 'new.st'], { cwd }),
    { code: 2, message: 'a word of the command is empty; see hexz build --help' },
    'an empty name'
  )
  t.strictSame(contentsOf(cwd), before, 'nothing was made or changed')
})

await t.test('with --json a mistake is one line of JSON', async (t) => {
  const { code, stdout, stderr } = await runCli([
    'build',
    'nowhere.img',
    '-o',
    'x.st',
    '--json',
    '--profile',
    'fast'
  ])
  t.strictSame([code, stdout.toString()], [2, ''])
  t.equal(stderr.split('\n').length, 2)
  t.strictSame(JSON.parse(stderr), {
    event: 'error',
    code: 'USAGE',
    exitCode: 2,
    message: 'there is no profile "fast"; the profiles are generic, eda, embedded, ml'
  })
})
