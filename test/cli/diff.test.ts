import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildInMemory, buildOfStages } from '../helpers/build.js'
import { randomBytes, textBytes, zeroBytes } from '../helpers/data.js'
import { failsWith, runCli, scratch } from '../helpers/run-cli.js'

const disk = Buffer.concat([textBytes(40_000, 1), zeroBytes(100_000), randomBytes(20_000, 2)])
const changed = Buffer.from(disk)
changed.fill(0xff, 10_000, 10_003)
changed[60_000] = 1
changed[159_999] = changed.readUInt8(159_999) ^ 1
const memory = textBytes(9000, 3)

async function setUp(t: Test): Promise<{ cwd: string }> {
  const cwd = scratch(t)
  const put = async (name: string, streams: readonly Buffer[], options = {}): Promise<void> =>
    writeFileSync(
      join(cwd, name),
      await buildOfStages(
        streams.map((bytes) => [bytes]),
        { chunkSize: 4096, ...options }
      )
    )
  await put('a.st', [disk, memory])
  await put('same.st', [disk, memory], { codec: 'zstd', cdc: true, chunkSize: 2048 })
  await put('b.st', [changed, memory])
  await put('short.st', [disk.subarray(0, 150_000)])
  return { cwd }
}

const wanted = 'disk 10000 10002 3\ndisk 60000 60000 1\ndisk 159999 159999 1\n'

await t.test('diff: ranges on standard output, exit 0 or 9', async (t) => {
  const { cwd } = await setUp(t)
  const same = await runCli(['diff', 'a.st', 'same.st'], { cwd })
  t.strictSame(
    [same.code, same.stdout.toString(), same.stderr],
    [0, '', 'hexz: disk: no byte differs\nhexz: memory: no byte differs\n']
  )
  const different = await runCli(['diff', 'a.st', 'b.st'], { cwd })
  t.strictSame(
    [different.code, different.stdout.toString(), different.stderr],
    [9, wanted, 'hexz: disk: 5 B (5 bytes) in 3 ranges differ\nhexz: memory: no byte differs\n']
  )
  const chunks = await runCli(['diff', '--chunks', '--stream', 'disk', 'b.st', 'a.st'], { cwd })
  t.strictSame(
    [chunks.code, chunks.stdout.toString(), chunks.stderr],
    [
      9,
      'disk 8192 12287 4096\ndisk 57344 61439 4096\ndisk 159744 159999 256\n',
      'hexz: disk: 8.25 KiB (8448 bytes) in whole chunks, in 3 ranges differ\n'
    ]
  )
  const short = await runCli(['diff', 'short.st', 'a.st'], { cwd })
  t.strictSame(
    [short.code, short.stdout.toString(), short.stderr],
    [
      9,
      '',
      'hexz: disk: no byte differs; bytes 150000 to 159999 are in a.st only\n' +
        'hexz: memory: no byte differs; bytes 0 to 8999 are in a.st only; short.st has no such stream\n'
    ]
  )
})

await t.test('diff --json', async (t) => {
  const { cwd } = await setUp(t)
  const { code, stdout, stderr } = await runCli(['diff', 'a.st', 'b.st', '--json'], { cwd })
  t.strictSame([code, stderr], [9, ''])
  t.equal(stdout.toString().trimEnd().includes('\n'), false, 'one line')
  t.strictSame(JSON.parse(stdout.toString()), {
    files: ['a.st', 'b.st'],
    streams: [
      {
        name: 'disk',
        sizes: [160_000, 160_000],
        ranges: [
          { start: 10_000, end: 10_003 },
          { start: 60_000, end: 60_001 },
          { start: 159_999, end: 160_000 }
        ],
        differentSize: 5
      },
      { name: 'memory', sizes: [9000, 9000], ranges: [], differentSize: 0 }
    ],
    isDifferent: true,
    isExact: true
  })
  const short = await runCli(['diff', 'a.st', 'short.st', '--json', '--chunks'], { cwd })
  t.equal(short.code, 9)
  t.match(JSON.parse(short.stdout.toString()), {
    streams: [{ sizes: [160_000, 150_000] }, { sizes: [9000, null] }],
    isDifferent: true,
    isExact: false
  })
})

await t.test('diff: encrypted ones, opened with the same passphrase', async (t) => {
  const cwd = scratch(t)
  const locks = { passphrase: Buffer.from('one two') }
  for (const [name, bytes] of [['a.st', disk] as const, ['b.st', changed] as const])
    writeFileSync(join(cwd, name), (await buildInMemory([[bytes]], { chunkSize: 4096, locks })).file)
  writeFileSync(join(cwd, 'pass'), 'one two\n')
  const found = await runCli(['diff', 'a.st', 'b.st', '--passphrase-file', 'pass'], { cwd })
  t.strictSame([found.code, found.stdout.toString()], [9, wanted])
})

await t.test('diff: wrong words and files', async (t) => {
  const { cwd } = await setUp(t)
  const fails = async (args: string[], code: number, message: string): Promise<void> =>
    failsWith(t, await runCli(['diff', ...args], { cwd }), { code, message }, args.join(' '))
  await fails(['a.st'], 2, 'diff compares two snapshots; name both')
  await fails(
    ['-', '-'],
    2,
    'the first snapshot and the second are both standard input, which can be read only once; give one of them another way'
  )
  await fails(
    ['a.st', 'b.st', '--stream', 'tape'],
    2,
    'neither snapshot has a stream "tape"; they have disk, memory'
  )
  await fails(['a.st', 'none.st'], 3, 'none.st does not exist')
  writeFileSync(join(cwd, 'bad.st'), changed)
  await fails(['a.st', 'bad.st'], 5, 'bad.st is not a snapshot, or its first bytes are damaged')
})
