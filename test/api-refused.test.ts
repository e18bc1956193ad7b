import { existsSync, readFileSync } from 'node:fs'
import { createServer, connect } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import t from 'tap'
import { build, buildStreams } from '../lib/index.js'
import type { Source } from '../lib/source/source.js'
import type { Target } from '../lib/target/target.js'

const sourceText = 'some bytes '.repeat(1000)

void t.test('a setting that is wrong is told before the target is touched', async (t) => {
  const folder = t.testdir({ source: sourceText, 'old.st': 'old' })
  const source = join(folder, 'source')
  for (const target of [join(folder, 'new.st'), join(folder, 'old.st')]) {
    await t.rejects(build({ source, target, force: true, profile: 'nope' }), {
      code: 'USAGE',
      message: 'there is no profile "nope"; the profiles are generic, eda, embedded, ml'
    })
    await t.rejects(build({ source, target, force: true, concurrency: 65 }), {
      code: 'USAGE',
      message: 'concurrency 65 is not a whole number from 1 to 64'
    })
    t.notOk(existsSync(`${target}.partial`))
  }
  t.notOk(existsSync(join(folder, 'new.st')))
  t.equal(readFileSync(join(folder, 'old.st'), 'utf8'), 'old')
})

void t.test('a build that cannot start gives back sources and target', async (t) => {
  let closedCount = 0
  let discardedCount = 0
  const source: Source = {
    name: 'the source',
    size: undefined,
    // eslint-disable-next-line @typescript-eslint/require-await -- a source of nothing has nothing to wait for
    async *read() {
      yield* []
    },
    close: () => {
      closedCount++
      return Promise.resolve()
    }
  }
  const target: Target = {
    name: 'the target',
    write: () => Promise.resolve(),
    commit: () => Promise.resolve(),
    discard: () => {
      discardedCount++
      return Promise.resolve()
    }
  }
  await t.rejects(buildStreams([{ name: 'NOT A NAME', source }], target), {
    code: 'USAGE',
    message: '"NOT A NAME" is not a stream name: use up to 64 of a-z 0-9 . _ -'
  })
  t.equal(closedCount, 1)
  t.equal(discardedCount, 1)
})

void t.test('a target stream is torn down when the source cannot be opened', async (t) => {
  const target = new PassThrough()
  await t.rejects(build({ source: join(t.testdir(), 'missing'), target }), { code: 'SOURCE_MISSING' })
  t.ok(target.destroyed)
  t.notOk(target.writableEnded, 'and not ended, which would look like success')
})

void t.test('a target stream that broke before the build began', async (t) => {
  const source = join(t.testdir({ source: sourceText }), 'source')
  const broken = new Writable({ write: (_piece, _encoding, done) => done() })
  broken.on('error', () => undefined)
  broken.destroy(new Error('the far side is gone'))
  await t.rejects(build({ source, target: broken, concurrency: 1 }), {
    code: 'TARGET_UNWRITABLE',
    message: "the target stream can't be written: the far side is gone"
  })

  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const socket = connect(server.address() as never)
  socket.on('error', () => undefined)
  socket.resume()
  await once(socket, 'close')
  await t.rejects(build({ source, target: socket, concurrency: 1 }), { code: 'TARGET_CLOSED' })
})
