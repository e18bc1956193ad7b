import t from 'tap'
import { PassThrough, Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { writableTarget } from '../../lib/target/writable-target.js'
import { sink, type SnapshotRecord, type Target } from '../../transforms/index.js'
import { cutEvery, randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { settle } from '../helpers/streams.js'

const bytes = randomBytes(300_000, 1)

const write = (records: Iterable<unknown>, target: Target): Promise<void> =>
  pipeline(Readable.from(records), sink(target))

await t.test('stream: gets copies, is ended by the commit', async (t) => {
  const scratch = Buffer.from('abc')
  const stream = new PassThrough()
  const header: SnapshotRecord = { kind: 'header', bytes: Buffer.from('head ') }
  const release = (): void => void scratch.fill('x')
  const frames: SnapshotRecord = { kind: 'frames', offset: 5, frames: [scratch, scratch], release }
  const footer: SnapshotRecord = { kind: 'footer', offset: 11, bytes: Buffer.from(' end') }
  await write([header, frames, footer], writableTarget(stream))
  t.equal(stream.writableFinished, true)
  t.equal((stream.read() as Buffer).toString(), 'head abcabc end')
})

await t.test('stream: a slow one is waited for, and keeps no listeners', async (t) => {
  let held = 0
  let heldMax = 0
  const stream = new Writable({
    highWaterMark: 1,
    write(chunk: Buffer, _encoding, done) {
      held -= chunk.length
      setImmediate(done)
    }
  })
  const target = writableTarget(stream)
  const before = stream.eventNames().map((name) => stream.listenerCount(name))
  for (const piece of cutEvery(bytes, 10_000)) {
    held += piece.length
    await target.write([piece])
    heldMax = Math.max(heldMax, held)
  }
  t.ok(heldMax <= 10_000, `${heldMax} bytes wait`)
  t.strictSame(
    stream.eventNames().map((name) => stream.listenerCount(name)),
    before
  )
  await target.commit()
})

await t.test('stream: closed or failing, it is told', async (t) => {
  const closed = new PassThrough()
  closed.destroy()
  await settle()
  const gone = 'TargetError TARGET_CLOSED: x was closed by its reader before everything was written'
  t.equal(await rejected(write([bytes], writableTarget(closed, 'x'))), gone)
  const closing = new PassThrough({ highWaterMark: 10 })
  const writing = rejected(write([bytes, bytes], writableTarget(closing, 'x')))
  await settle()
  closing.destroy()
  t.equal(await writing, gone, 'while it was waited for')
  const atEnd = new Writable({ write: () => undefined })
  atEnd.write('this never gets through')
  const target = writableTarget(atEnd, 'x')
  const ending = rejected(target.commit())
  atEnd.destroy()
  t.equal(await ending, gone)

  const broken = new Writable({ write: (_chunk, _encoding, done) => done(new Error('out of paper')) })
  t.equal(
    await rejected(write([bytes, bytes, bytes], writableTarget(broken, 'x'))),
    "TargetError TARGET_UNWRITABLE: x can't be written: out of paper"
  )
  const full = new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error(), { code: 'ENOSPC' }))
  })
  t.equal(
    await rejected(write([bytes], writableTarget(full, 'x'))),
    "TargetError TARGET_FULL: x can't be written: no space is left there"
  )
})

await t.test('stream: a failure before it destroys it, and never ends it', async (t) => {
  const stream = new PassThrough()
  stream.resume()
  let isEnded = false
  stream.on('end', () => (isEnded = true))
  function* failing(): Generator {
    yield bytes
    throw new Error('no more')
  }
  t.equal(await rejected(write(failing(), writableTarget(stream))), 'Error: no more')
  t.equal(stream.destroyed, true)
  t.equal(isEnded, false)
})
