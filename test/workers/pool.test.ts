import t, { type Test } from 'tap'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { Worker } from 'node:worker_threads'
import { build } from '../../lib/api.js'
import { CorruptError, HexzError, LimitError } from '../../lib/errors.js'
import { memoryLimits } from '../../lib/limits.js'
import { listBlocks } from '../../lib/reader/block-list.js'
import { flattenError, reviveError } from '../../lib/workers/messages.js'
import { createWorkerPool, inlinePool, type TaskArgs, type WorkerPool } from '../../lib/workers/pool.js'
import { createSlabPool } from '../../lib/workers/slabs.js'
import { difference, hex } from '../helpers/bytes.js'
import { cutEvery, mixedBytes, randomBytes, textBytes, zeroBytes } from '../helpers/data.js'
import { caught, describeError, rejected } from '../helpers/errors.js'
import { blake3 } from '../../lib/format/digest.js'

/** Shows every message to a worker thread before it is sent: the only way to a pool's threads. */
function watchWorkers(t: Test, see: (worker: Worker, name: string) => void): void {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its own `this` below
  const original = Worker.prototype.postMessage
  Worker.prototype.postMessage = function (this: Worker, message: { name: string } | null) {
    if (message !== null) see(this, message.name)
    original.call(this, message)
  }
  t.teardown(() => (Worker.prototype.postMessage = original))
}

const plain = Buffer.concat([textBytes(5000, 1), zeroBytes(3000), randomBytes(2000, 2)])
const digestArgs = (): TaskArgs<'digestChunks'> => ({ bytes: plain, sizes: Uint32Array.of(5000, 3000, 2000) })

async function compressPlain(pool: WorkerPool): Promise<{ frames: Uint8Array; sizes: number[] }> {
  const frames = new Uint8Array(new SharedArrayBuffer(20_000))
  const place = { starts: Uint32Array.of(0, 8000), rawSizes: Uint32Array.of(5000, 2000), streamOffset: 0 }
  const args = { bytes: plain, ...place, stream: 0, codec: 'lz4', level: 0, frames } as const
  const { storedSizes } = await pool.run('compressChunks', { ...args, usesDictionary: false, isTrial: false })
  return { sizes: storedSizes, frames }
}

await t.test('a pool gives what the same tasks give on this thread', async (t) => {
  const pool = createWorkerPool(2)
  t.teardown(() => pool.close())
  const { digests, isHole } = await pool.run('digestChunks', digestArgs())
  t.strictSame(isHole, [false, true, false])
  t.equal(
    hex(digests),
    hex(Buffer.concat([blake3(plain.subarray(0, 5000)), zeroBytes(32), blake3(plain.subarray(8000))]))
  )
  const [threaded, inline] = [await compressPlain(pool), await compressPlain(inlinePool)]
  t.strictSame(threaded.sizes, inline.sizes)
  t.equal(difference(threaded.frames, inline.frames), 'equal')
  t.equal(threaded.sizes[1], 2000 + 24, 'random bytes are stored raw')

  const bytes = new Uint8Array(new SharedArrayBuffer(7000))
  const [first = 0, second = 0] = threaded.sizes
  const blocks = listBlocks([
    { start: first, storedSize: second, offset: 0, rawStart: 5000, rawSize: 2000, innerOffset: 0 },
    { start: 0, storedSize: first, offset: 0, rawStart: 0, rawSize: 5000, innerOffset: 0 }
  ])
  await pool.run('decodeBlocks', { frames: threaded.frames, blocks, bytes, where: 'x' })
  t.equal(difference(bytes, Buffer.concat([plain.subarray(0, 5000), plain.subarray(8000)])), 'equal')
})

await t.test('a pool runs many tasks, each answer to its own question', async (t) => {
  const pool = createWorkerPool(3)
  t.teardown(() => pool.close())
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const bytes = randomBytes(1 + ((i * 7919) % 50_000), i)
      const { digests } = await pool.run('digestChunks', { bytes, sizes: Uint32Array.of(bytes.length) })
      return hex(digests) === hex(blake3(bytes))
    })
  )
  t.equal(answers.filter((isRight) => !isRight).length, 0)
})

await t.test('a task’s error comes back as it was, and the pool goes on', async (t) => {
  const pool = createWorkerPool(1)
  t.teardown(() => pool.close())
  const { frames, sizes } = await compressPlain(inlinePool)
  const [storedSize = 0] = sizes
  frames[100] = (frames[100] ?? 0) ^ 1
  const blocks = listBlocks([
    { start: 0, storedSize, offset: 77, rawStart: 0, rawSize: 5000, innerOffset: 0 }
  ])
  const decode = (): Promise<unknown> => pool.run('decodeBlocks', { frames, blocks, where: 'x' })
  const error = await decode().catch((error: unknown) => error)
  t.ok(error instanceof CorruptError)
  t.equal(
    describeError(error),
    'CorruptError BAD_CHECKSUM: x is damaged at byte 77: the checksum of the frame there is wrong'
  )
  t.match(error, { name: 'CorruptError', exitCode: 5, details: { where: 'x', offset: 77 } })
  frames[100] ^= 1
  t.equal(await decode(), undefined)
})

await t.test('errors cross between threads as plain data', (t) => {
  const details = { where: 'x', offset: 5, expected: 1, found: 'y', cause: new Error('not sent') }
  const error = new LimitError('too large', details)
  const revived = reviveError(structuredClone(flattenError(error)))
  t.ok(revived instanceof LimitError)
  t.equal(describeError(revived), 'LimitError LIMIT: too large')
  t.match(revived, { details: { where: 'x', offset: 5, expected: 1, found: 'y' } })
  t.equal(describeError(reviveError(flattenError(new TypeError('oh')))), 'Error: oh')
  t.equal(describeError(reviveError(flattenError('a string'))), 'Error: a string')
  t.notOk(reviveError({ className: 'CorruptError', message: 'm', code: 'NO_SUCH_CODE' }) instanceof HexzError)
  t.end()
})

await t.test('a pool has 1 to 64 threads', (t) => {
  for (const size of [0, -1, 1.5, NaN, 65, Infinity])
    t.equal(
      caught(() => createWorkerPool(size)),
      `UsageError USAGE: concurrency ${size} is not a whole number from 1 to 64`
    )
  t.end()
})

const deaths: Record<string, { kill: (worker: Worker) => void; message: RegExp }> = {
  'is terminated': {
    kill: (worker) => void worker.terminate(),
    message: /^Error: a worker thread ended with code [01]$/
  },
  throws: {
    // Outside any task: the thread's message handler takes `null` apart.
    kill: (worker) => worker.postMessage(null),
    message: /^Error: a worker thread failed: Cannot destructure property 'id' of .+ as it is null\.$/
  }
}

for (const [how, { kill, message }] of Object.entries(deaths)) {
  await t.test(`when a thread ${how}, every task fails: held, waiting and later ones`, async (t) => {
    const workers = new Set<Worker>()
    watchWorkers(t, (worker) => workers.add(worker))
    const pool = createWorkerPool(2)
    t.teardown(() => pool.close())
    await pool.run('digestChunks', digestArgs())
    const [worker] = workers
    if (worker === undefined) throw new Error('no thread was given a task')
    kill(worker)
    const found = await Promise.all(Array.from({ length: 20 }, () => rejected(compressPlain(pool))))
    // What was done before the thread died may have been answered.
    const failures = found.filter((text) => text !== 'nothing was thrown')
    t.ok(failures.length > 0)
    t.strictSame(
      failures.filter((text) => !message.test(text)),
      []
    )
    t.match(await rejected(pool.run('digestChunks', digestArgs())), message)
    await pool.close()
    t.match(await rejected(pool.run('digestChunks', digestArgs())), message, 'the first failure stays')
  })

  for (const [name, count] of [
    ['digestChunks', 1],
    ['digestChunks', 4],
    ['compressChunks', 1],
    ['compressChunks', 3]
  ] as const)
    await t.test(`when a thread ${how} at ${name} ${count}, the build fails`, async (t) => {
      let left: number = count
      watchWorkers(t, (worker, task) => {
        if (task === name && --left === 0) kill(worker)
      })
      const source = Readable.from(cutEvery(mixedBytes(12 * 1024 * 1024, 1), 100_000))
      const folder = t.testdir({})
      const target = join(folder, 'out.st')
      t.match(await rejected(build({ source, target, concurrency: 2 })), message)
      t.equal(left <= 0, true, 'the thread was killed')
      t.strictSame(await readdir(folder), [])
    })
}

await t.test('when a thread dies, a stream target is destroyed, never ended', async (t) => {
  watchWorkers(t, (worker, task) => {
    if (task === 'compressChunks') void worker.terminate()
  })
  let isEnded = false
  const target = new Writable({
    write: (_chunk, _encoding, done) => done(),
    final(done) {
      isEnded = true
      done()
    }
  })
  const source = Readable.from(cutEvery(randomBytes(3_000_000, 1), 100_000))
  t.match(await rejected(build({ source, target, concurrency: 1 })), /a worker thread ended/)
  t.equal(isEnded, false)
  t.equal(target.destroyed, true)
})

await t.test('this thread works, too, where it may', async (t) => {
  const sent: string[] = []
  watchWorkers(t, (_, name) => sent.push(name))
  const digestHere = (pool: WorkerPool, i: number): Promise<boolean> => {
    const bytes = randomBytes(1 + ((i * 7919) % 50_000), i)
    const args = { bytes, sizes: Uint32Array.of(bytes.length) }
    return pool
      .run('digestChunks', args, { mayRunHere: true })
      .then(({ digests }) => hex(digests) === hex(blake3(bytes)))
  }
  const count = (answers: readonly boolean[]): number => answers.filter(Boolean).length

  const alone = createWorkerPool(1)
  t.equal(count(await Promise.all(Array.from({ length: 20 }, (_, i) => digestHere(alone, i)))), 20)
  t.strictSame(sent, [], 'a pool of one is this thread')
  t.ok((alone.worked.get('digestChunks') ?? 0) > 0)
  await alone.run('digestChunks', digestArgs())
  t.equal(sent.length, 1, 'but not for other tasks')
  await alone.close()

  const pair = createWorkerPool(2)
  sent.length = 0
  t.ok(await digestHere(pair, 1))
  t.equal(sent.length, 0, 'a single task needs no worker')
  let turns = 0
  let isDone = false
  const turn = (): void => {
    turns += 1
    if (!isDone) setImmediate(turn)
  }
  turn()
  // A worker takes its time to start; this thread may do hundreds meanwhile.
  let done = 0
  while (sent.length <= 2 && done < 100_000) {
    t.equal(count(await Promise.all(Array.from({ length: 300 }, (_, i) => digestHere(pair, i)))), 300)
    done += 300
  }
  isDone = true
  t.ok(sent.length > 2 && sent.length < done, `the worker did ${sent.length} of ${done}`)
  t.ok(turns >= done - sent.length, 'and the event loop had a turn before each of the others')
  await pair.close()
})

await t.test('a task on this thread fails alone, and closing rejects it, too', async (t) => {
  const pool = createWorkerPool(1)
  const frames = new Uint8Array(100)
  const blocks = listBlocks([
    { start: 0, storedSize: 100, offset: 77, rawStart: 0, rawSize: 50, innerOffset: 0 }
  ])
  const decode = (): Promise<unknown> =>
    pool.run('decodeBlocks', { frames, blocks, where: 'x' }, { mayRunHere: true })
  const [first, second] = await Promise.all([rejected(decode()), rejected(decode())])
  t.equal(
    first,
    'CorruptError BAD_CHECKSUM: x is damaged at byte 77: the checksum of the frame there is wrong'
  )
  t.equal(second, first)
  const held = Array.from({ length: 3 }, () => rejected(decode()))
  await pool.close()
  t.strictSame([...new Set(await Promise.all(held))], ['Error: the worker pool is closed'])
})

await t.test('closing a pool rejects what it holds', async (t) => {
  const pool = createWorkerPool(1)
  const held = Array.from({ length: 5 }, () => rejected(pool.run('digestChunks', digestArgs())))
  await pool.close()
  t.strictSame([...new Set(await Promise.all(held))], ['Error: the worker pool is closed'])
  t.equal(await rejected(pool.run('digestChunks', digestArgs())), 'Error: the worker pool is closed')
  await pool.close()
})

await t.test('slabs are reused once they are released', (t) => {
  const slabs = createSlabPool()
  const first = slabs.acquire(1000)
  t.equal(first.bytes.length, 1000)
  t.ok(first.bytes.buffer instanceof SharedArrayBuffer)
  const second = slabs.acquire(1000)
  t.not(second.bytes.buffer, first.bytes.buffer)
  first.release()
  first.release()
  const third = slabs.acquire(500)
  t.equal(third.bytes.buffer, first.bytes.buffer)
  t.not(slabs.acquire(500).bytes.buffer, first.bytes.buffer, 'a second release does nothing')
  first.release()
  t.not(slabs.acquire(500).bytes.buffer, first.bytes.buffer, 'nor does one by a former holder')
  t.end()
})

await t.test('slabs: all become as large as the largest, and no more than a few are kept', (t) => {
  const slabs = createSlabPool()
  const small = slabs.acquire(10)
  slabs.acquire(10).release()
  const large = slabs.acquire(5 * 1024 * 1024, 1024)
  t.equal(large.bytes.length, 5 * 1024 * 1024)
  t.equal(large.room, 1024)
  large.release()
  small.release()
  t.equal(slabs.acquire(10).bytes.buffer, large.bytes.buffer, 'it serves for less')
  t.not(slabs.acquire(5 * 1024 * 1024).bytes.buffer, small.bytes.buffer, 'what is too small is not kept')
  const out = Array.from({ length: memoryLimits.slabsKept + 3 }, () => slabs.acquire(10))
  const buffers = new Set(out.map((slab) => slab.bytes.buffer))
  for (const slab of out) slab.release()
  const again = Array.from({ length: out.length }, () => slabs.acquire(10).bytes.buffer)
  t.equal(again.filter((buffer) => buffers.has(buffer)).length, memoryLimits.slabsKept)
  t.end()
})
