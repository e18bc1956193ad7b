import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import fc from 'fast-check'
import { TargetError } from '../../lib/errors.js'
import { openSnapshot } from '../../lib/reader/open-snapshot.js'
import { restoreInPlace } from '../../lib/reader/restore-in-place.js'
import { openInPlaceTarget, type InPlaceTarget } from '../../lib/target/in-place.js'
import { buildOfStages } from '../helpers/build.js'
import { difference } from '../helpers/bytes.js'
import { mixedBytes, randomBytes, zeroBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { checkProperty } from '../helpers/property.js'
import { memorySource } from '../helpers/snapshots.js'

const disk = Buffer.concat([mixedBytes(600_000, 1, 8192), zeroBytes(2_500_000), mixedBytes(300_001, 2, 8192)])
const file = await buildOfStages([[disk]], { chunkSize: 8192 })

/** A target in memory that counts what is written, and may have no room at some byte. */
interface MemoryTarget extends InPlaceTarget {
  readonly writes: { offset: number; size: number }[]
  readonly content: () => Buffer
  readonly isSynced: () => boolean
}

function memoryTarget(old: Buffer, { isDevice = false, fullAt = Infinity } = {}): MemoryTarget {
  let bytes = Buffer.from(old)
  let isSynced = false
  const writes: { offset: number; size: number }[] = []
  const resize = (size: number): void => {
    bytes = Buffer.concat([bytes.subarray(0, size), zeroBytes(Math.max(0, size - bytes.length))])
  }
  return {
    name: 'target',
    size: old.length,
    isDevice,
    writes,
    content: () => bytes,
    isSynced: () => isSynced,
    read: (into, offset) => Promise.resolve(bytes.copy(into, 0, Math.min(offset, bytes.length))),
    writeAt(offset, piece) {
      if (offset + piece.length > fullAt)
        return Promise.reject(
          new TargetError('TARGET_FULL', "target can't be written: no space is left there")
        )
      if (isDevice && offset + piece.length > old.length)
        return Promise.reject(new Error('behind the device'))
      resize(Math.max(bytes.length, offset + piece.length))
      bytes.set(piece, offset)
      writes.push({ offset, size: piece.length })
      return Promise.resolve()
    },
    setSize(size) {
      if (isDevice) return Promise.reject(new Error('a device has its size'))
      resize(size)
      return Promise.resolve()
    },
    sync() {
      isSynced = true
      return Promise.resolve()
    },
    close: () => Promise.resolve()
  }
}

await t.test('whatever was there, the target is the range then', async (t) => {
  const old = fc.record({
    size: fc.oneof(fc.constant(disk.length), fc.nat(disk.length + 100_000)),
    from: fc.constantFrom('disk', 'noise', 'zeros'),
    edits: fc.array(fc.tuple(fc.nat(disk.length), fc.nat(20_000)), { maxLength: 4 })
  })
  const range = fc
    .oneof(fc.constant([0, disk.length] as const), fc.tuple(fc.nat(disk.length), fc.nat(disk.length)))
    .map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) }))
  const property = fc.asyncProperty(
    old,
    range,
    fc.boolean(),
    async ({ size, from, edits }, { start, end }, isDevice) => {
      const source = { disk: disk.subarray(start), noise: randomBytes(64, 3), zeros: zeroBytes(1) }[from]
      const before = Buffer.concat([source, zeroBytes(size)]).subarray(0, size)
      for (const [at, length] of edits) before.subarray(at, at + length).fill(0x5a)
      if (isDevice && before.length < end - start) return
      const target = memoryTarget(before, { isDevice })
      const snapshot = await openSnapshot(memorySource(file))
      const { writtenSize } = await restoreInPlace(snapshot, target, { stream: 'disk', start, end })
      const wanted = disk.subarray(start, end)
      const expected = isDevice ? Buffer.concat([wanted, before.subarray(wanted.length)]) : wanted
      if (difference(target.content(), expected) !== 'equal')
        throw new Error(difference(target.content(), expected))
      if (writtenSize !== target.writes.reduce((sum, one) => sum + one.size, 0))
        throw new Error('wrong count')
      if (!target.isSynced()) throw new Error('not synced')
      for (const { offset, size: length } of target.writes)
        for (let at = offset; at < offset + length; at += 4096) {
          const there = before.subarray(at, Math.min(at + 4096, offset + length))
          const isWhole = there.length === Math.min(4096, offset + length - at)
          if (isWhole && there.equals(wanted.subarray(at, at + there.length)))
            throw new Error(`${there.length} bytes at ${at} were the same`)
        }
    }
  )
  await checkProperty(t, property, 60)
})

await t.test('what is the same is neither written nor read from the snapshot', async (t) => {
  const source = memorySource(file)
  const snapshot = await openSnapshot(source)
  await snapshot.page(0)
  source.reads.length = 0
  const same = memoryTarget(disk)
  const all = { stream: 'disk', start: 0, end: disk.length }
  t.strictSame(await restoreInPlace(snapshot, same, all), { writtenSize: 0 })
  t.equal(source.reads.length, 0)
  const old = Buffer.from(disk)
  const at = disk.findIndex((byte, i) => i > 20_000 && byte !== 0) // not in a hole
  old[at] = disk.readUInt8(at) ^ 1
  old[1_000_000] = 1
  const target = memoryTarget(old)
  t.strictSame(await restoreInPlace(snapshot, target, all), { writtenSize: 8192 })
  t.strictSame(target.writes, [
    { offset: at - (at % 4096), size: 4096 },
    { offset: 999_424, size: 4096 }
  ])
  t.ok(target.content().equals(disk))
  t.equal(source.reads.length, 1, 'one block')
})

await t.test('a device that is too small is refused before anything is written', async (t) => {
  const target = memoryTarget(disk.subarray(1), { isDevice: true })
  const snapshot = await openSnapshot(memorySource(file))
  t.equal(
    await rejected(restoreInPlace(snapshot, target, { stream: 'disk', start: 0, end: disk.length })),
    `TargetError TARGET_FULL: target has ${disk.length - 1} bytes, and ${disk.length} are to go there; nothing was written`
  )
  t.strictSame(target.writes, [])
})

await t.test('a failure says what it leaves', async (t) => {
  const restore = async (bytes: Buffer, target: MemoryTarget): Promise<string> =>
    rejected(
      restoreInPlace(await openSnapshot(memorySource(bytes)), target, {
        stream: 'disk',
        start: 0,
        end: disk.length
      })
    )
  const left = '; target is now partly old and partly new: extract to it again'
  const full = memoryTarget(zeroBytes(disk.length), { fullAt: 500_000 })
  t.equal(
    await restore(file, full),
    `TargetError TARGET_FULL: target can't be written: no space is left there${left}`
  )
  t.ok(full.writes.length > 0)
  const atOnce = memoryTarget(zeroBytes(disk.length), { fullAt: 0 })
  t.match(await restore(file, atOnce), /partly old/, 'a write that failed may have written something')

  const whole = await openSnapshot(memorySource(file))
  const blocks = (await whole.page(0)).entries.flatMap((entry) =>
    entry.kind === 'block' ? [entry.blockOffset] : []
  )
  const damaged = (blockOffset: number): Buffer => {
    const bytes = Buffer.from(file)
    bytes.writeUInt8(bytes.readUInt8(blockOffset + 40) ^ 1, blockOffset + 40)
    return bytes
  }
  const last = blocks.at(-1) ?? 0
  const says = (at: number): string =>
    `CorruptError BAD_CHECKSUM: x is damaged at byte ${at}: the checksum of the frame there is wrong`
  t.equal(await restore(damaged(last), memoryTarget(zeroBytes(disk.length))), says(last) + left)
  const untouched = memoryTarget(zeroBytes(10))
  t.equal(await restore(damaged(blocks[0] ?? 0), untouched), says(blocks[0] ?? 0))
  t.strictSame([untouched.writes, untouched.content().length], [[], 10], 'nothing was changed yet')
})

await t.test('targets: what can be changed in place', async (t) => {
  const folder = t.testdir({ 'a.img': 'old bytes', folder: {} })
  const at = (name: string): string => join(folder, name)
  const target = await openInPlaceTarget(at('a.img'))
  t.strictSame([target.size, target.isDevice], [9, false])
  const into = Buffer.alloc(20)
  t.equal(await target.read(into, 4), 5)
  t.equal(into.toString('latin1', 0, 5), 'bytes')
  await target.writeAt(0, Buffer.from('new'))
  await target.setSize(5)
  await target.sync()
  await target.close()
  t.equal(readFileSync(at('a.img'), 'latin1'), 'new b')

  t.equal(
    await rejected(openInPlaceTarget(at('none'))),
    `TargetError TARGET_UNWRITABLE: ${at('none')} does not exist, so nothing can be changed in it; extract makes it when it is not in place`
  )
  t.match(
    await rejected(openInPlaceTarget(at('folder'))),
    /^TargetError TARGET_UNWRITABLE: .* it is a directory$/
  )
  t.equal(
    await rejected(openInPlaceTarget('/dev/null')),
    "TargetError TARGET_UNWRITABLE: /dev/null is neither a file nor a block device, so it can't be changed in place"
  )
  t.match(
    await rejected(openInPlaceTarget(at('a.img'), { sources: [at('a.img')] })),
    /^TargetError TARGET_IS_SOURCE: /
  )
})

await t.test('a file on disk becomes the range, and keeps its holes', async (t) => {
  const path = join(t.testdir(), 'a.img')
  writeFileSync(path, disk.subarray(0, 1000))
  truncateSync(path, 4_000_000)
  const target = await openInPlaceTarget(path)
  const snapshot = await openSnapshot(memorySource(file))
  await restoreInPlace(snapshot, target, { stream: 'disk', start: 0, end: disk.length })
  await target.close()
  t.ok(readFileSync(path).equals(disk))
  t.ok(statSync(path).blocks * 512 < 1_500_000, 'zeros were not written where there were some')
})
