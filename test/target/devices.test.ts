import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { build } from '../../lib/index.js'
import { openSource } from '../../lib/source/file-source.js'
import { openInPlaceTarget } from '../../lib/target/in-place.js'
import { openTarget } from '../../lib/target/target.js'
import { cipherBytes } from '../helpers/bulk-data.js'
import { rejected } from '../helpers/errors.js'
import { loopDevice, mounted, must, skipLoop, type LoopDevice } from '../helpers/loop-device.js'
import { contentsOf, eachOf, failsWith, runCli, runShell, scratch } from '../helpers/run-cli.js'

const MiB = 1024 * 1024
const deviceSize = 8 * MiB
const disk = cipherBytes(MiB, 1)

async function setUp(t: Test): Promise<{ cwd: string; device: LoopDevice }> {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  await build({ source: join(cwd, 'disk.img'), target: join(cwd, 'a.st'), concurrency: 1 })
  return { cwd, device: loopDevice(t, cwd, deviceSize) }
}

const inUse = (name: string, remedy = '--force-in-use'): string =>
  `${name} is in use: it or a partition of it is mounted, is swap, belongs to a RAID or volume group, or is held by another program; ${remedy} overwrites it all the same`

/** Ways of writing to a device say that it is in use, and write nothing. */
async function refuses(
  t: Test,
  { cwd, device, why, isThorough = false }: { cwd: string; device: string; why: string; isThorough?: boolean }
): Promise<void> {
  const link = join(cwd, 'link')
  const cases: readonly (readonly [script: string, name: string])[] = [
    [`hexz extract a.st -o ${device} --in-place`, device],
    [`hexz extract a.st > ${device}`, 'standard output'],
    [`hexz extract a.st -o ${device} --force`, device],
    [`cat a.st | hexz extract - -o ${device} --in-place`, device],
    [`ln -sf ${device} ${link}; hexz extract a.st -o ${link} --in-place`, link]
  ]
  await eachOf(isThorough ? cases : cases.slice(0, 2), async ([script, name]) =>
    failsWith(t, await runShell(script, { cwd }), { code: 4, message: inUse(name) }, `${why}: ${script}`)
  )
  const told = `TargetError TARGET_IN_USE: ${inUse(device, 'option forceInUse')}`
  t.equal(await rejected(openTarget(device, { force: true })), told, `${why}: openTarget`)
  t.equal(await rejected(openInPlaceTarget(device)), told, `${why}: openInPlaceTarget`)
  t.notOk(holdsDisk(device), `${why}: nothing was written`)
}

/** Behind what a filesystem may write at its beginning meanwhile. */
function holdsDisk(device: string): boolean {
  const fd = openSync(device, 'r')
  const found = Buffer.alloc(64 * 1024)
  readSync(fd, found, 0, found.length, 512 * 1024)
  closeSync(fd)
  return found.equals(disk.subarray(512 * 1024, 576 * 1024))
}

await t.test('a device that is mounted', { skip: skipLoop }, async (t) => {
  const { cwd, device } = await setUp(t)
  const unmount = mounted(t, device.path, cwd)
  await refuses(t, { cwd, device: device.path, why: 'mounted', isThorough: true })
  unmount()
  must('e2fsck', '-f', '-n', device.path)
  const args = ['extract', 'a.st', '-o', device.path, '--in-place']
  t.equal((await runCli(args, { cwd })).code, 0, 'after it was unmounted')
  t.ok(readFileSync(device.path).subarray(0, MiB).equals(disk))
})

await t.test('--force-in-use', { skip: skipLoop }, async (t) => {
  const { cwd, device } = await setUp(t)
  mounted(t, device.path, cwd)
  for (const how of ['--in-place -o', '--force -o', '>']) {
    const script = `hexz extract a.st --force-in-use ${how} ${device.path}`
    t.equal((await runShell(script, { cwd })).code, 0, script)
    t.ok(holdsDisk(device.path), `${script}: written`)
    const fd = openSync(device.path, 'r+')
    writeSync(fd, Buffer.alloc(64 * 1024), 0, 64 * 1024, 512 * 1024)
    closeSync(fd)
  }
})

await t.test('a disk of which a partition is mounted, and the partition', { skip: skipLoop }, async (t) => {
  const { cwd, device } = await setUp(t)
  const name = device.path.replace('/dev/', '')
  spawnSync('delpart', [device.path, '1']) // should a killed test have left one
  try {
    must('addpart', device.path, '1', '2048', '10000')
  } catch (error) {
    t.pass('no partition can be added here', { skip: String(error) })
    return
  }
  t.teardown(() => must('delpart', device.path, '1'))
  const [major = '', minor = ''] = readFileSync(`/sys/block/${name}/${name}p1/dev`, 'utf8').trim().split(':')
  const partition = join(cwd, 'partition')
  must('mknod', partition, 'b', major, minor)
  const unmount = mounted(t, partition, cwd)
  await refuses(t, { cwd, device: partition, why: 'the partition' })
  await refuses(t, { cwd, device: device.path, why: 'the disk' })
  unmount()
  const source = await openSource(partition)
  t.equal(source.size, 10_000 * 512, 'the size of a partition, by a node of its own')
  await source.close()
})

await t.test('a device that is swap, or that another program holds', { skip: skipLoop }, async (t) => {
  const { cwd, device } = await setUp(t)
  must('mkswap', device.path)
  let isSwap = true
  try {
    must('swapon', device.path)
  } catch {
    isSwap = false
  }
  if (isSwap) {
    try {
      for (const how of ['--in-place', '--force']) {
        const run = await runCli(['extract', 'a.st', '-o', device.path, how], { cwd })
        failsWith(t, run, { code: 4, message: inUse(device.path) }, `swap, ${how}`)
      }
    } finally {
      must('swapoff', device.path)
    }
  }
  const holding = `const { openSync, constants } = require('node:fs')
    openSync(process.argv[1], constants.O_RDONLY | constants.O_EXCL); console.log('held'); process.stdin.resume()`
  const holder = spawn(process.execPath, ['-e', holding, device.path], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(holder.stdout, 'data')
  await refuses(t, { cwd, device: device.path, why: 'held' })
  holder.stdin.end()
  await once(holder, 'exit')
  t.equal((await runCli(['extract', 'a.st', '-o', device.path, '--in-place'], { cwd })).code, 0)
})

await t.test('a device by any name', { skip: skipLoop }, async (t) => {
  const { cwd, device } = await setUp(t)
  mkdirSync(join(cwd, 'by-id'))
  symlinkSync(device.path, join(cwd, 'vg-lv'))
  symlinkSync('../vg-lv', join(cwd, 'by-id', 'scsi-1'))
  const { rdev } = statSync(device.path)
  must('mknod', join(cwd, 'node'), 'b', String((rdev >> 8) & 0xfff), String(rdev & 0xff))
  for (const name of ['vg-lv', 'by-id/scsi-1', 'node', device.path]) {
    const source = await openSource(name === device.path ? name : join(cwd, name))
    t.equal(source.size, deviceSize, `${name}: the size of a source`)
    t.type(source.readAt, 'function', `${name}: can be sampled`)
    await source.close()
    must('blkdiscard', '-f', '-z', device.path)
    const run = await runCli(['extract', 'a.st', '-o', name, '--in-place', '--json'], { cwd })
    t.match(JSON.parse(run.stdout.toString()), { size: MiB, writtenSize: MiB }, `${name}: in place`)
    t.ok(readFileSync(device.path).subarray(0, MiB).equals(disk), `${name}: the bytes`)
  }
  for (const name of ['vg-lv', 'node'])
    failsWith(
      t,
      await runCli(['extract', device.path, '-o', name, '--force'], { cwd }),
      { code: 4, message: `${name} is the same file as the source ${device.path}; choose another target` },
      `${name} is the source`
    )
})

await t.test('what only a file can hold does not go to a device', { skip: skipLoop }, async (t) => {
  const { cwd, device } = await setUp(t)
  writeFileSync(join(cwd, 'text'), 'some text\n'.repeat(600_000))
  const before = contentsOf(cwd)
  const snapshot = (name: string): string =>
    `${name} is a block device: a snapshot is a file, and could not be read back there; to write a disk image back, use extract`
  const cases: readonly (readonly [script: string, message: string])[] = [
    [`hexz build disk.img -f -o ${device.path}`, snapshot(device.path)],
    [`hexz build disk.img -o ${device.path}`, snapshot(device.path)],
    [`hexz pack disk.img -f -o ${device.path}`, snapshot(device.path)],
    [`hexz build disk.img > ${device.path}`, snapshot('standard output')],
    [
      `hexz train text -f -o ${device.path}`,
      `${device.path} is a block device: a dictionary is a file, and could not be read back there`
    ],
    [
      `hexz recover a.st -f -o ${device.path}`,
      `${device.path} is a block device: what is recovered goes to a file, so that what is lost is left as a hole`
    ]
  ]
  await eachOf(cases, async ([script, message]) =>
    failsWith(t, await runShell(script, { cwd }), { code: 4, message }, script)
  )
  t.equal(
    await rejected(build({ source: join(cwd, 'disk.img'), target: device.path, force: true })),
    `TargetError TARGET_UNWRITABLE: ${snapshot(device.path)}`,
    'build of the library'
  )
  t.strictSame(contentsOf(cwd), before, 'nothing was made or changed')
})

await t.test('a device that is too small is not touched', { skip: skipLoop }, async (t) => {
  const { cwd, device } = await setUp(t)
  writeFileSync(join(cwd, 'large.img'), Buffer.concat([cipherBytes(deviceSize, 2), Buffer.from('more')]))
  await build({ source: join(cwd, 'large.img'), target: join(cwd, 'large.st'), concurrency: 1 })
  const message = `${device.path} has ${deviceSize} bytes, and ${deviceSize + 4} are to go there; nothing was written`
  for (const how of ['--force', '--in-place']) {
    const run = await runCli(['extract', 'large.st', '-o', device.path, how], { cwd })
    failsWith(t, run, { code: 4, message }, how)
  }
  t.ok(readFileSync(device.path).equals(Buffer.alloc(deviceSize)), 'it has the zeros that it had')
})
