import { mkdtempSync, openSync, closeSync, readFileSync, writeFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { build, openSnapshot, type Run } from '../../lib/index.js'
import { randomBytes } from '../helpers/data.js'

/** A snapshot that was closed is not read any more: its descriptor may be another file's by then. */

const disk = Buffer.concat([randomBytes(300_000, 1), Buffer.alloc(100_000), randomBytes(2_000_000, 2)])
const closed = { name: 'UsageError', message: /^\S+s\.st is closed$/ }

async function made(t: Test): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'hexz-closed-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const path = join(folder, 's.st')
  const source = (async function* () {
    await Promise.resolve()
    yield disk
  })()
  await build({ source, target: path, chunkSize: 4096, concurrency: 1 })
  return path
}

for (const concurrency of [0, 1]) {
  await t.test(`every method of a closed snapshot, ${concurrency} threads`, async (t) => {
    const path = await made(t)
    const snapshot = await openSnapshot(path, { concurrency })
    const fd = openSync(`${path}.out`, 'w')
    t.teardown(() => {
      closeSync(fd)
    })
    await snapshot.close()
    await t.rejects(snapshot.read('disk', 0, 1), closed)
    await t.rejects(snapshot.page(0), closed)
    t.throws(() => snapshot.isHole('disk', 0, 1), closed)
    t.throws(() => snapshot.createReadStream('disk'), closed)
    t.throws(() => snapshot.runs('disk'), closed)
    t.throws(() => snapshot.extents('disk'), closed)
    t.throws(() => snapshot.pieces('disk'), closed)
    t.throws(() => snapshot.writeTo({ fd, name: 'out' }, 'disk'), closed)
    t.equal(readFileSync(`${path}.out`).length, 0)
  })

  await t.test(`iterations that had started, ${concurrency} threads`, async (t) => {
    const path = await made(t)
    const snapshot = await openSnapshot(path, { concurrency })
    const fd = openSync(`${path}.out`, 'w')
    t.teardown(() => {
      closeSync(fd)
    })
    const started = [
      snapshot.runs('disk'),
      snapshot.extents('disk'),
      snapshot.pieces('disk'),
      snapshot.writeTo({ fd, name: 'out' }, 'disk')
    ] as const
    for (const items of started) t.equal((await items.next()).done, false)
    const unstarted = snapshot.runs('disk')
    const stream = snapshot.createReadStream('disk')
    const streamed = stream.toArray()
    streamed.catch(() => undefined)
    await snapshot.close()
    // The descriptor is another file's now, of other bytes.
    writeFileSync(`${path}.other`, randomBytes(3_000_000, 3))
    const other = openSync(`${path}.other`, 'r')
    const written = readFileSync(`${path}.out`)
    for (const items of [...started, unstarted]) {
      const next: Promise<unknown> = items.next()
      await t.rejects(next, closed)
    }
    await t.rejects(streamed, closed)
    t.ok(readFileSync(`${path}.out`).equals(written), 'nothing more is written')
    closeSync(other)
  })

  await t.test(`one that waits for its next item, ${concurrency} threads`, async (t) => {
    const snapshot = await openSnapshot(await made(t), { concurrency })
    const runs = snapshot.runs('disk')
    const waiting: Promise<IteratorResult<Run, void>> = runs.next()
    const closing = snapshot.close()
    await t.rejects(waiting, closed)
    await closing
    t.strictSame(await runs.next(), { done: true, value: undefined })
  })
}

await t.test('an iteration that is left early does not keep it from being closed', async (t) => {
  const snapshot = await openSnapshot(await made(t))
  for await (const run of snapshot.runs('disk')) {
    t.equal(run.offset, 0)
    break
  }
  await snapshot.close()
  await snapshot.close()
})
