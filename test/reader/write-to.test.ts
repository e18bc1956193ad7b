import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import fc from 'fast-check'
import { openFileBytes } from '../../lib/reader/byte-source.js'
import { listBlocks } from '../../lib/reader/block-list.js'
import { readsOf } from '../../lib/reader/block-reads.js'
import type { BlockPlace } from '../../lib/reader/check-block.js'
import { openSnapshot, type Snapshot } from '../../lib/reader/open-snapshot.js'
import { buildOfStages } from '../helpers/build.js'
import { difference } from '../helpers/bytes.js'
import { mixedBytes, randomBytes, zeroBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { checkProperty } from '../helpers/property.js'
import { scratch } from '../helpers/run-cli.js'
import { memorySource } from '../helpers/snapshots.js'

const repeated = mixedBytes(200_000, 1, 1024)
const disk = Buffer.concat([
  repeated,
  zeroBytes(100_000),
  randomBytes(1_500_000, 2),
  repeated,
  zeroBytes(777)
])
const file = await buildOfStages([[disk]], { profile: 'eda', chunkSize: 4096 })

/** What `writeTo` makes of a file that held something else, and what it says of holes. */
async function written(
  t: Test,
  snapshot: Snapshot,
  range: { start: number; end: number }
): Promise<{ bytes: Buffer; holes: readonly (readonly [offset: number, size: number])[] }> {
  const path = join(scratch(t), 'x')
  writeFileSync(path, Buffer.alloc(range.end - range.start, 7))
  const fd = openSync(path, 'r+')
  const holes: [number, number][] = []
  let offset = range.start
  for await (const run of snapshot.writeTo({ fd, name: 'x' }, 'disk', range)) {
    if (run.offset !== offset) throw new Error(`a piece at ${run.offset}, expected at ${offset}`)
    if (run.kind === 'hole') holes.push([run.offset - range.start, run.size])
    offset += run.size
  }
  closeSync(fd)
  const bytes = readFileSync(path)
  rmSync(path)
  if (offset !== range.end) throw new Error(`pieces end at ${offset}, expected ${range.end}`)
  return { bytes, holes }
}

await t.test('any range is written where it belongs, and nothing else', async (t) => {
  const path = join(scratch(t), 'a.st')
  writeFileSync(path, file)
  const snapshots = [
    await openSnapshot(memorySource(file)),
    await openSnapshot(path, { concurrency: 2 }),
    await openSnapshot({ ...memorySource(file), close: () => Promise.resolve() }, { concurrency: 2 })
  ]
  t.teardown(() => Promise.all(snapshots.map((snapshot) => snapshot.close())))
  const place = fc.oneof(
    fc.nat(disk.length),
    fc.constantFrom(0, 1, 4095, 4096, 4097, 200_000, 300_000, disk.length - 1, disk.length)
  )
  const property = fc.asyncProperty(place, place, fc.constantFrom(...snapshots), async (a, b, snapshot) => {
    const range = { start: Math.min(a, b), end: Math.max(a, b) }
    const { bytes, holes } = await written(t, snapshot, range)
    const expected = Buffer.from(disk.subarray(range.start, range.end))
    for (const [offset, size] of holes) {
      if (!expected.subarray(offset, offset + size).equals(zeroBytes(size))) throw new Error('not a hole')
      expected.fill(7, offset, offset + size)
    }
    if (difference(bytes, expected) !== 'equal') throw new Error(difference(bytes, expected))
  })
  await checkProperty(t, property, 60)
})

await t.test('a damaged chunk is not written, nor what was read with it', async (t) => {
  const damaged = Buffer.from(file)
  const at = damaged.indexOf(disk.subarray(900_000, 900_050)) // stored raw, since it is random
  damaged[at] = (damaged[at] ?? 0) ^ 1
  const snapshot = await openSnapshot(memorySource(damaged), { concurrency: 2 })
  t.teardown(() => snapshot.close())
  const range = { start: 899_000, end: 950_000 }
  const path = join(scratch(t), 'x')
  writeFileSync(path, Buffer.alloc(51_000, 7))
  const fd = openSync(path, 'r+')
  const run = async (): Promise<void> => {
    for await (const _ of snapshot.writeTo({ fd, name: 'x' }, 'disk', range));
  }
  t.match(await rejected(run()), /^CorruptError BAD_CHECKSUM: x is damaged at byte \d+/)
  closeSync(fd)
  t.equal(difference(readFileSync(path), Buffer.alloc(51_000, 7)), 'equal')
})

await t.test('a target that cannot be written is told by name', async (t) => {
  const path = join(scratch(t), 'a.st')
  writeFileSync(path, file)
  const snapshot = await openSnapshot(await openFileBytes(path), { concurrency: 2 })
  t.teardown(() => snapshot.close())
  const fd = openSync(path, 'r')
  const run = async (): Promise<void> => {
    for await (const _ of snapshot.writeTo({ fd, name: 'the target' }, 'disk'));
  }
  t.match(await rejected(run()), /^TargetError TARGET_UNWRITABLE: the target can't be written/)
  closeSync(fd)
})

await t.test('one read gets blocks that lie side by side', (t) => {
  const place = (start: number, offset: number, storedSize = 10): BlockPlace => ({
    start,
    offset,
    storedSize,
    rawStart: 0,
    rawSize: 0,
    innerOffset: 0
  })
  const places = [place(0, 100), place(10, 110), place(10, 110), place(20, 50), place(30, 60, 5)]
  const reads = [...readsOf(listBlocks(places))]
  t.strictSame(reads, [
    { start: 0, size: 20, offset: 100 },
    { start: 20, size: 15, offset: 50 }
  ])
  t.strictSame([...readsOf(listBlocks([]))], [])
  t.end()
})
