import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { PipelineOptions } from '../../lib/build.js'
import { run, skipUnless, type Result } from '../docs/run.js'
import { mixedBytes, textBytes } from '../helpers/data.js'
import { makeFilesystem } from '../helpers/filesystem.js'
import { cliPath, runShell, scratch } from '../helpers/run-cli.js'
import { serveBytes, type Served } from '../helpers/serving.js'

const MiB = 1024 * 1024
const passphrase = Buffer.from('nine lives')
const memory = mixedBytes(300_000, 9)

/** A snapshot of each kind. */
const kinds: Record<string, PipelineOptions> = {
  generic: {},
  eda: { profile: 'eda' },
  embedded: { profile: 'embedded' },
  ml: { profile: 'ml' },
  'generic with --cdc': { cdc: true },
  'ml with --cdc, encrypted': { profile: 'ml', cdc: true, locks: { passphrase } }
}

const uriOf = ({ path }: Served, name = ''): string => `nbd+unix:///${name}?socket=${path}`

/** Runs a program that must end well, and say nothing on standard error. */
async function runWell(t: Test, program: string, args: readonly string[]): Promise<Result> {
  const result = await run(program, args)
  t.same([result.exitCode, result.stderr], [0, ''], `${program} ${args[0] ?? ''}`)
  return result
}

interface MapEntry {
  readonly offset: number
  readonly length: number
  readonly type: number
}

/** Holds a map of extents to the bytes: without gaps, all that is called zero is. */
function holdsMap(t: Test, entries: readonly MapEntry[], bytes: Buffer): void {
  let end = 0
  for (const { offset, length, type } of entries) {
    if (offset !== end) t.fail(`a gap at ${end}`)
    end = offset + length
    if (type === 3 && bytes.subarray(offset, end).some((byte) => byte !== 0)) t.fail(`no hole at ${offset}`)
    else if (type !== 3 && type !== 0) t.fail(`an extent of type ${type}`)
  }
  t.equal(end, bytes.length, 'the map covers the disk')
  t.ok(
    entries.some(({ type, length }) => type === 3 && length >= 2 * MiB),
    'and shows the free space of the filesystem'
  )
}

/** Every client there is, against one snapshot; the files they write are removed with the folder. */
async function allClients(t: Test, served: Served, image: string, folder: string): Promise<void> {
  const bytes = readFileSync(image)
  const uri = uriOf(served)
  const copy = join(folder, `copy-${t.name.replaceAll(/\W/g, '-')}`)
  const isSkipped = (...programs: string[]): boolean => {
    const reason = skipUnless(...programs)
    if (reason !== false) t.comment(`left out: ${reason}`)
    return reason !== false
  }
  if (!isSkipped('nbdinfo')) {
    t.equal((await runWell(t, 'nbdinfo', ['--size', uri])).stdout.toString(), `${bytes.length}\n`)
    const map = await runWell(t, 'nbdinfo', ['--map', '--json', uri])
    holdsMap(t, JSON.parse(map.stdout.toString()) as MapEntry[], bytes)
    const info = JSON.parse((await runWell(t, 'nbdinfo', ['--json', '--list', uri])).stdout.toString()) as {
      exports: object[]
    }
    t.match(info.exports, [
      {
        'export-name': 'disk',
        is_read_only: true,
        can_multi_conn: true,
        can_df: true,
        'export-size': bytes.length,
        contexts: ['base:allocation']
      },
      { 'export-name': 'memory', 'export-size': memory.length }
    ])
  }
  if (!isSkipped('nbdcopy')) {
    for (const [name, expected] of [
      ['', bytes],
      ['memory', memory]
    ] as const) {
      await runWell(t, 'nbdcopy', [uriOf(served, name), copy])
      t.ok(readFileSync(copy).equals(expected), `nbdcopy ${name}`)
    }
    await runWell(t, 'nbdcopy', ['--no-extents', '--request-size=2097152', uri, copy])
    t.ok(readFileSync(copy).equals(bytes), 'nbdcopy without extents, in requests of 2 MiB')
  }
  if (!isSkipped('qemu-img')) {
    const same = await runWell(t, 'qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, uri])
    t.equal(same.stdout.toString(), 'Images are identical.\n')
    await runWell(t, 'qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, copy])
    t.ok(readFileSync(copy).equals(bytes), 'qemu-img convert')
    const map = await runWell(t, 'qemu-img', ['map', '-f', 'raw', '--output=json', uri])
    const entries = JSON.parse(map.stdout.toString()) as { start: number; length: number; zero: boolean }[]
    const asMap = entries.map(({ start, length, zero }) => ({ offset: start, length, type: zero ? 3 : 0 }))
    holdsMap(t, asMap, bytes)
  }
  if (!isSkipped('e2fsck', 'qemu-img')) {
    t.equal((await run('e2fsck', ['-f', '-n', copy])).exitCode, 0, 'e2fsck of the copy')
    const text = await run('debugfs', ['-R', 'cat /var/log/text.log', copy])
    t.ok(text.stdout.equals(textBytes(900_000, 3)), 'a file in the copy')
  }
  if (!isSkipped('curl')) {
    for (const [range, start, end] of [
      ['1024-2047', 1024, 2048],
      ['999999-3000000', 999_999, 3_000_001],
      ['-100', bytes.length - 100, bytes.length]
    ] as const) {
      const { stdout } = await runWell(t, 'curl', ['-s', '-f', '-r', range, `${served.url}/disk`])
      t.ok(stdout.equals(bytes.subarray(start, end)), `curl -r ${range}`)
    }
  }
  t.same(served.problems, [])
}

await t.test('clients of every kind agree with the source', { skip: skipUnless('mke2fs') }, async (t) => {
  const folder = scratch(t)
  const image = await makeFilesystem(folder, 8)
  for (const [name, options] of Object.entries(kinds)) {
    await t.test(name, async (t) => {
      const open = 'locks' in options ? { passphrase } : {}
      const served = await serveBytes(t, [readFileSync(image), memory], options, open)
      await allClients(t, served, image, folder)
    })
  }
})

await t.test('qemu-io', { skip: skipUnless('qemu-io') }, async (t) => {
  const bytes = Buffer.concat([Buffer.alloc(MiB, 0xa5), Buffer.alloc(MiB), Buffer.alloc(5000, 0x5a)])
  const served = await serveBytes(t, [bytes])
  const io = (command: string, ...flags: string[]): Promise<Result> =>
    run('qemu-io', [...flags, '-f', 'raw', '-c', command, uriOf(served)])
  for (const command of [
    'read -P 0xa5 0 1M',
    'read -P 0xa5 777 1000',
    'read -P 0 1M 1M',
    `read -P 0x5a ${2 * MiB + 1} 4999`
  ]) {
    const { exitCode, stdout } = await io(command, '-r')
    t.equal(exitCode, 0, command)
    t.match(stdout.toString(), / bytes read from disk|read \d+\/\d+ bytes/)
    t.notMatch(stdout.toString(), 'verification failed')
  }
  t.match((await io('read -P 0xa4 0 1M', '-r')).stdout.toString(), 'Pattern verification failed')
  t.match((await io('read 0 512', '-n')).stderr, /read-only|Permission|not permitted/i, 'not for writing')
})

await t.test('fio reads at random, and knows each block', { skip: skipUnless('fio') }, async (t) => {
  const folder = scratch(t)
  const image = join(folder, 'fio.img')
  const write = [
    '--ioengine=psync',
    `--filename=${image}`,
    '--rw=randwrite',
    '--do_verify=0',
    '--end_fsync=0'
  ]
  const common = ['--name=x', '--size=4m', '--bs=4k', '--verify=crc32c', '--output-format=json']
  t.equal((await run('fio', [...common, ...write], { cwd: folder })).exitCode, 0)
  const read = (served: Served): Promise<Result> =>
    run(
      'fio',
      [
        ...common,
        '--ioengine=nbd',
        `--uri=${uriOf(served)}`,
        '--rw=randread',
        '--numjobs=4',
        '--iodepth=16',
        '--thread'
      ],
      { cwd: folder }
    )
  const bytes = readFileSync(image)
  for (const options of [{ profile: 'generic' }, { profile: 'eda', cdc: true }]) {
    const { exitCode, stderr } = await read(await serveBytes(t, [bytes], options))
    t.equal(exitCode, 0, stderr)
  }
  bytes[3_000_000] = (bytes[3_000_000] ?? 0) ^ 1
  t.not((await read(await serveBytes(t, [bytes]))).exitCode, 0, 'it does find a wrong byte')
})

await t.test('the command line', { skip: skipUnless('nbdcopy', 'nbdinfo', 'cmp') }, async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'vm.img'), Buffer.concat([mixedBytes(3 * MiB, 1), Buffer.alloc(2 * MiB)]))
  const { code, stdout, stderr } = await runShell(
    [
      'set -e -o pipefail',
      'hexz build vm.img -o vm.st --concurrency 1 --progress none 2> /dev/null',
      // One line when it listens: what a script waits for.
      'mkfifo ready && exec 3<> ready',
      '"$NODE" "$CLI" serve vm.st --nbd unix:s.sock > ready 2> /dev/null &',
      'read -r uri < ready',
      'echo "$uri"',
      'nbdcopy "$uri" - | cmp - vm.img',
      'nbdinfo --map "$uri" | tail -n 1',
      'kill %1; wait %1 || echo "$?"; ls s.sock 2> /dev/null || echo gone'
    ].join('\n'),
    { cwd, env: { NODE: process.execPath, CLI: cliPath } }
  )
  t.same([code, stderr], [0, ''])
  const lines = stdout.toString().split('\n')
  t.equal(lines[0], 'nbd+unix:///?socket=s.sock')
  t.match(lines[1], /^ *\d+ +\d+ +3 +hole,zero$/)
  t.ok(Number(lines[1]?.trim().split(/ +/)[1]) >= 2 * MiB)
  t.same(lines.slice(2), ['143', 'gone', ''])
})
