import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openSnapshot, type Snapshot } from '../../lib/index.js'
import { randomBytes, repeatBytes, textBytes, zeroBytes } from '../helpers/data.js'
import { eachOf, finished, runCli, scratch, startCli, type CliResult } from '../helpers/run-cli.js'
import { runHere } from '../helpers/run-here.js'

const KiB = 1024
const chunk = randomBytes(64 * KiB, 1)
/** Four 64 KiB chunks that are all the same to dedup, four of zeros, two of text and a short one. */
const disk = Buffer.concat([repeatBytes(chunk, 4), zeroBytes(256 * KiB), textBytes(130 * KiB, 2)])
const ram = textBytes(10 * KiB, 3)

function setUp(t: Test): { folder: string; at: (name: string) => string } {
  const folder = scratch(t)
  writeFileSync(join(folder, 'disk.img'), disk)
  writeFileSync(join(folder, 'ram.bin'), ram)
  return { folder, at: (name) => join(folder, name) }
}

async function contents(path: string, stream = 'disk'): Promise<{ snapshot: Snapshot; bytes: Buffer }> {
  const snapshot = await openSnapshot(path)
  const size = snapshot.streams.find(({ name }) => name === stream)?.size ?? 0
  const bytes = await snapshot.read(stream, 0, size)
  await snapshot.close()
  return { snapshot, bytes }
}

/** The summary without what differs from run to run. */
const withoutTimes = (text: string): string =>
  text.replace(/^ {2}\d+\.\d s, [\d.]+ \w+\/s, peak memory [\d.]+ \w+$/m, '  TIMES')

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

await t.test('every way of naming source and target gives the same snapshot', async (t) => {
  const { folder: cwd } = setUp(t)
  const ways: readonly { args: string[]; stdin?: Buffer; target?: string; name?: string }[] = [
    { args: ['build', 'disk.img', '-o', 'a.st'], target: 'a.st' },
    { args: ['build', '--source', 'disk.img', '--output', 'b.st'], target: 'b.st' },
    { args: ['build', '--output=c.st', '-s', 'disk.img'], target: 'c.st' },
    { args: ['build', 'disk.img', 'd.st'], target: 'd.st' },
    { args: ['build', '-o', 'f.st', '--', 'disk.img'], target: 'f.st' },
    { args: ['build', '-', '-o', 'g.st'], stdin: disk, target: 'g.st' },
    { args: ['pack', 'disk.img', '-o', 'h.st'], target: 'h.st' },
    { args: ['build', 'disk.img', '-o', 'i.st', '--concurrency', '1'], target: 'i.st' },
    { args: ['build', 'disk.img', '-o', 'j.st', '--concurrency', '8'], target: 'j.st' },
    { args: ['build', 'disk.img', '-'] },
    { args: ['build', 'disk.img'] },
    { args: ['build', '-'], stdin: disk },
    { args: ['build', '-s', '-', '-o', '-'], stdin: disk }
  ]
  await runCli(['build', 'disk.img', '-o', 'expected.st'], { cwd })
  const expected = readFileSync(join(cwd, 'expected.st'))
  await eachOf(ways, async ({ args, stdin, target }) => {
    const result = await runCli(args, { cwd, ...(stdin === undefined ? {} : { stdin }) })
    const name = `hexz ${args.join(' ')}`
    t.equal(result.code, 0, `${name}: exit code`)
    const written = target === undefined ? result.stdout : readFileSync(join(cwd, target))
    t.ok(written.equals(expected), `${name}: same bytes`)
    if (target !== undefined) t.equal(result.stdout.length, 0, `${name}: standard output is empty`)
    const shown = `hexz: ${target ?? 'standard output'}: 642 KiB in, `
    t.ok(result.stderr.startsWith(shown), `${name}: names the target`)
  })
  const { snapshot, bytes } = await contents(join(cwd, 'expected.st'))
  t.ok(bytes.equals(disk), 'and it holds the source')
  t.equal(snapshot.header.profile, 'generic')
})

await t.test('the summary says where the bytes went', async (t) => {
  const { at } = setUp(t)
  const { code, stdout, stderr } = await runCli(['build', at('disk.img'), '-o', at('a.st')])
  t.equal(code, 0)
  t.equal(stdout.toString(), '')
  const { snapshot } = await contents(at('a.st'))
  const size = statSync(at('a.st')).size
  const stored = snapshot.streams[0]?.blockStoredSize ?? 0
  const kib = (n: number): string => `${(n / KiB).toPrecision(3)} KiB`
  t.equal(
    withoutTimes(stderr),
    [
      `hexz: ${at('a.st')}: 642 KiB in, ${kib(size)} out, ratio ${(disk.length / size).toFixed(2)}`,
      '  holes        256 KiB in 1 run of zeros',
      '  repeats      192 KiB in 3 chunks',
      `  compression  194 KiB to ${kib(stored)} in 4 blocks, ratio ${((194 * KiB) / stored).toFixed(2)}`,
      '  TIMES',
      `  digest       ${hex(snapshot.digest)}`,
      ''
    ].join('\n')
  )
})

/** The JSON summary, its measured fields checked and taken out. */
function parseSummary(t: Test, text: string): Record<string, unknown> {
  const { elapsedMs, peakMemory, ...rest } = JSON.parse(text) as Record<string, unknown>
  t.ok(Number.isInteger(elapsedMs), 'elapsedMs')
  t.ok(Number(peakMemory) > 10 * KiB * KiB, 'peakMemory')
  return rest
}

await t.test('--json: one line with the same figures, beside the snapshot and never in it', async (t) => {
  const { at } = setUp(t)
  const args = ['--memory', at('ram.bin'), '--json', '--progress', 'none']
  const toFile = await runCli(['build', at('disk.img'), '-o', at('a.st'), ...args])
  const toPipe = await runCli(['build', at('disk.img'), ...args])
  t.same([toFile.code, toPipe.code], [0, 0])
  t.equal(toFile.stderr, '')
  t.equal(toFile.stdout.toString().split('\n').length, 2, 'one line')
  const { snapshot, bytes } = await contents(at('a.st'), 'memory')
  t.ok(bytes.equals(ram))
  t.ok(toPipe.stdout.equals(readFileSync(at('a.st'))))
  const expected = {
    profile: 'generic',
    rawSize: disk.length + ram.length,
    storedSize: statSync(at('a.st')).size,
    streams: snapshot.streams,
    dictionary: null,
    dictionaryReason: null,
    forgottenCount: 0,
    digest: hex(snapshot.digest)
  }
  t.strictSame(parseSummary(t, toFile.stdout.toString()), { target: at('a.st'), ...expected })
  t.strictSame(parseSummary(t, toPipe.stderr), { target: 'standard output', ...expected })
  t.strictSame(
    snapshot.streams.map(({ name, size, blockCount, repeatCount, holeCount }) => ({
      name,
      size,
      blockCount,
      repeatCount,
      holeCount
    })),
    [
      { name: 'disk', size: disk.length, blockCount: 4, repeatCount: 3, holeCount: 1 },
      { name: 'memory', size: ram.length, blockCount: 1, repeatCount: 0, holeCount: 0 }
    ]
  )
})

await t.test('settings: each profile, with and without --cdc, and every knob of pack', async (t) => {
  const { at, folder: cwd } = setUp(t)
  const fixed = (codec: string, level: number, size: number): object => ({
    chunker: 'fixed',
    codec,
    level,
    chunkSizeMin: size,
    chunkSizeAvg: size,
    chunkSizeMax: size
  })
  const cdc = (codec: string, level: number, [min, avg, max]: readonly [number, number, number]): object => ({
    chunker: 'fastcdc',
    codec,
    level,
    chunkSizeMin: min,
    chunkSizeAvg: avg,
    chunkSizeMax: max
  })
  const cases: readonly (readonly [string, object])[] = [
    ['build', { profile: 'generic', ...fixed('lz4', 0, 64 * KiB) }],
    ['build --profile eda', { profile: 'eda', ...fixed('zstd', 3, 128 * KiB) }],
    ['build -p embedded', { profile: 'embedded', ...fixed('lz4', 0, 16 * KiB) }],
    ['build --profile=ml', { profile: 'ml', ...fixed('zstd', 3, 256 * KiB) }],
    ['build --cdc -p eda', { profile: 'eda', ...cdc('zstd', 3, [32 * KiB, 128 * KiB, 256 * KiB]) }],
    ['pack --compression none', { profile: 'generic', ...fixed('raw', 0, 64 * KiB) }],
    ['pack --compression zstd --level 19', { profile: 'generic', ...fixed('zstd', 19, 64 * KiB) }],
    ['pack -p eda --level 1', { profile: 'eda', ...fixed('zstd', 1, 128 * KiB) }],
    ['pack --block-size 4kib', { profile: 'generic', ...fixed('lz4', 0, 4096) }],
    ['pack --block-size 4KB', { profile: 'generic', ...fixed('lz4', 0, 4000) }],
    ['pack --block-size 0.5M', { profile: 'generic', ...fixed('lz4', 0, 512 * KiB) }],
    [
      'pack --cdc --min-chunk 1K --avg-chunk 4K --max-chunk 64K',
      { profile: 'generic', ...cdc('lz4', 0, [1024, 4096, 65536]) }
    ]
  ]
  for (const [number, [words, expected]] of cases.entries()) {
    const target = at(`${number}.st`)
    const args = [...words.split(' '), at('disk.img'), '-o', target, '--concurrency', '1']
    const { code, stderr } = await runHere(args, { cwd })
    t.equal(code, 0, `${words}: ${stderr}`)
    const { snapshot, bytes } = await contents(target)
    const { major, minor, encrypted, streams, ...settings } = snapshot.header
    t.strictSame(settings, expected, `${words}: settings`)
    t.strictSame([major, minor, encrypted, streams], [1, 0, false, ['disk']])
    t.ok(bytes.equals(disk), `${words}: gives the source back`)
  }
})

await t.test('--expect-size, --force, --dedup-memory', async (t) => {
  const { at } = setUp(t)
  const ok = await runCli(['build', '-', '-o', at('a.st'), '--expect-size', '642K'], { stdin: disk })
  t.equal(ok.code, 0, 'the size is right')
  writeFileSync(at('old.st'), 'old')
  const forced = await runCli(['build', at('disk.img'), '-o', at('old.st'), '--force'])
  t.equal(forced.code, 0, 'an existing target is replaced')
  t.ok(readFileSync(at('old.st')).equals(readFileSync(at('a.st'))))
  const small = await runCli(['build', at('disk.img'), '-o', at('c.st'), '-f', '--dedup-memory', '1M'])
  t.equal(small.code, 0, 'a small dedup table')
  t.ok(readFileSync(at('c.st')).equals(readFileSync(at('a.st'))), 'gives the same where it suffices')
})

await t.test('a full dedup table is told, and costs ratio only', async (t) => {
  const { at } = setUp(t)
  // 1 MiB of table holds 21,845 chunks; a text of 24,000 chunks of 512 bytes, and its beginning again.
  const text = textBytes(24_000 * 512, 4)
  const source = Buffer.concat([text, text.subarray(0, 512 * 100)])
  const args = [
    'pack',
    '-',
    '-o',
    at('a.st'),
    '--block-size',
    '512',
    '--dedup-memory',
    '1M',
    '--progress',
    'none'
  ]
  const { code, stderr } = await runCli(args, { stdin: source })
  t.equal(code, 0)
  t.match(
    stderr,
    /\n {2}the dedup table was full: 2255 chunks could not be remembered; --dedup-memory gives it more\n/
  )
  const { snapshot, bytes } = await contents(at('a.st'))
  t.equal(snapshot.streams[0]?.blockCount, 24_100)
  t.ok(bytes.equals(source))
})

await t.test('--memory - is standard input', async (t) => {
  const { at } = setUp(t)
  const { code } = await runCli(['build', at('disk.img'), '--memory', '-', '-o', at('a.st')], { stdin: ram })
  t.equal(code, 0)
  t.ok((await contents(at('a.st'), 'disk')).bytes.equals(disk))
  t.ok((await contents(at('a.st'), 'memory')).bytes.equals(ram))
})

/** Gives a source bit by bit: until something is said of it, or for longer than that takes. */
async function slowly(args: readonly string[], isSilent: boolean): Promise<CliResult> {
  const child = startCli(args)
  const piece = randomBytes(256 * KiB, 5)
  const feed = setInterval(() => child.stdin?.write(piece), 100)
  const end = (): void => {
    clearInterval(feed)
    child.stdin?.end(piece)
  }
  if (isSilent) setTimeout(end, 2500)
  else child.stderr?.once('data', end)
  return finished(child)
}

await t.test('progress of a slow source', async (t) => {
  const { at } = setUp(t)
  const modes = ['plain', 'json', 'none', 'auto']
  await Promise.all(
    modes.map(async (mode) => {
      const { code, stderr } = await slowly(
        ['build', '-', '-o', at(mode), '--progress', mode],
        mode === 'none' || mode === 'auto'
      )
      t.equal(code, 0, mode)
      const lines = stderr.slice(0, stderr.indexOf('hexz: ')).trimEnd().split('\n')
      if (mode === 'plain') t.match(lines[0], /^read [\d.]+ [KM]iB, [\d.]+ [KM]iB written, [\d.]+ [KM]iB\/s$/)
      else if (mode === 'json') {
        const event = JSON.parse(lines[0] ?? '') as Record<string, unknown>
        t.strictSame(Object.keys(event), ['event', 'done', 'stored', 'elapsedMs'])
        t.equal(event.event, 'progress')
      } else t.strictSame(lines, [''], `${mode}: nothing when standard error is not a terminal`)
    })
  )
})
