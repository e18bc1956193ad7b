import { readFileSync } from 'node:fs'
import t from 'tap'
import { eachOf, runCli } from '../helpers/run-cli.js'

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

/** There may be more. */
const overviewLines = `hexz: disk images to compressed, deduplicated snapshots that can be read at any offset

  hexz build SOURCE -o out.st      make a snapshot; - is standard input
  hexz pack SOURCE -o out.st       the same with every setting
  hexz extract in.st -o disk.img   get the bytes back, whole or a range
  hexz inspect in.st               show what a snapshot holds
  hexz verify in.st                check every byte
  hexz recover in.st -o disk.img   save what is left of a damaged one

  hexz COMMAND --help              all options of a command
  hexz --version`.split('\n')

const known = (stdout: Buffer): string[] =>
  stdout
    .toString()
    .trimEnd()
    .split('\n')
    .filter((line) => overviewLines.includes(line))

await t.test('overview and version', async (t) => {
  await eachOf([['--help'], ['-h'], ['help']], async (args) => {
    const { code, stdout, stderr } = await runCli(args)
    t.strictSame([code, stderr], [0, ''], `hexz ${args.join(' ')}`)
    t.strictSame(known(stdout), overviewLines, `hexz ${args.join(' ')}`)
  })
  const bare = await runCli([])
  t.strictSame([bare.code, bare.stderr], [2, ''], 'hexz alone is a mistake')
  t.strictSame(known(bare.stdout), overviewLines)
  await eachOf(['--version', '-V'], async (arg) => {
    const { code, stdout, stderr } = await runCli([arg])
    t.strictSame([code, stdout.toString(), stderr], [0, `${version}\n`, ''], `hexz ${arg}`)
  })
})

const buildFlags = [
  '-s, --source FILE',
  '-o, --output FILE',
  '-p, --profile NAME',
  '--cdc',
  '--memory FILE',
  '-f, --force',
  '--expect-size SIZE',
  '--json',
  '--progress MODE',
  '--concurrency N',
  '--dedup-memory SIZE'
]

/** First line, usage lines, flags with their values, in the order of the help; there may be more. */
const commands: Readonly<Record<string, { summary: string; usage: string[]; flags: string[] }>> = {
  build: {
    summary: 'make a snapshot of a disk image, a device or a stream',
    usage: [
      'hexz build SOURCE [-o TARGET]',
      'hexz build - > out.st',
      'hexz build --source disk.img --output snapshot.st --profile eda --cdc --memory ram.bin'
    ],
    flags: buildFlags
  },
  pack: {
    summary: 'make a snapshot with settings of your own',
    usage: ['hexz pack SOURCE [-o TARGET] [--compression zstd --level 9 --block-size 256K]'],
    flags: [
      ...buildFlags,
      '--compression CODEC',
      '--level N',
      '--block-size SIZE',
      '--min-chunk SIZE',
      '--avg-chunk SIZE',
      '--max-chunk SIZE'
    ]
  },
  extract: {
    summary: 'get the bytes back, whole or a range',
    usage: [
      'hexz extract SNAPSHOT [-o TARGET]',
      'hexz extract - < in.st > disk.img',
      'hexz extract SNAPSHOT --offset 1G --length 4K > range.bin'
    ],
    flags: [
      '-s, --source FILE',
      '-o, --output FILE',
      '--stream NAME',
      '--offset SIZE',
      '--length SIZE',
      '-f, --force',
      '--json',
      '--progress MODE',
      '--concurrency N'
    ]
  },
  inspect: {
    summary: 'show what a snapshot holds',
    usage: ['hexz inspect SNAPSHOT [--json]'],
    flags: ['--json']
  },
  verify: {
    summary: 'check every byte, every digest and the chain between them',
    usage: ['hexz verify SNAPSHOT [--quick]'],
    flags: ['--quick', '--json', '--progress MODE', '--concurrency N']
  },
  recover: {
    summary: 'get back what can be trusted of a damaged or incomplete snapshot',
    usage: ['hexz recover SNAPSHOT -o TARGET'],
    flags: ['-o, --output FILE', '--stream NAME', '-f, --force', '--json', '--progress MODE']
  }
}

await t.test('help of each command', async (t) => {
  await eachOf(Object.entries(commands), async ([name, { summary, usage, flags }]) => {
    // Beside other words, too: who asks for help is not told of mistakes.
    const { code, stdout, stderr } = await runCli([name, 'x', '--help', 'y', 'z'])
    t.strictSame([code, stderr], [0, ''], `${name}: exit code and standard error`)
    const lines = stdout.toString().trimEnd().split('\n')
    t.equal(lines[0], `hexz ${name}: ${summary}`, `${name}: first line`)
    t.strictSame(
      lines.filter((line) => line.startsWith('  hexz ')).map((line) => line.trim()),
      usage,
      `${name}: usage`
    )
    const flagLines = lines.filter((line) => /^ {2}(-\w, | {4})--/.test(line))
    const [found, texts] = [0, 1].map((i) => flagLines.map((line) => line.trim().split(/ {2,}/)[i]))
    t.strictSame(
      found?.filter((flag) => flags.includes(flag ?? '')),
      flags,
      `${name}: flags`
    )
    t.ok(
      texts?.every((text) => (text ?? '').length > 10),
      `${name}: each flag is explained`
    )
  })
})

await t.test('the profiles are in the help of build', async (t) => {
  const { stdout } = await runCli(['build', '--help'])
  t.ok(
    stdout.toString().endsWith(`
Profiles:
  generic   LZ4     64K   operating-system images, file servers, development VMs
  eda       Zstd 3  128K  CAD databases, netlists, FPGA and ASIC work
  embedded  LZ4     16K   IoT, embedded Linux, small memory
  ml        Zstd 3  256K  model weights, training data
`)
  )
})
