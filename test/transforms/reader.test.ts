import t from 'tap'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdir, open, readdir, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { buffer } from 'node:stream/consumers'
import { iterableSource, openSource, reader, type ReaderOptions } from '../../transforms/index.js'
import { difference } from '../helpers/bytes.js'
import { cutEvery, cutRandomly, mixedBytes, randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { settle } from '../helpers/streams.js'

const MiB = 1024 * 1024
const folder = t.testdir({})
const path = join(folder, 'source')
const bytes = mixedBytes(3 * MiB + 7, 1)
const noProc = existsSync('/proc/self/fd') ? false : 'needs /proc'

const readAll = async (from: string, options: ReaderOptions = {}): Promise<Buffer> =>
  buffer(reader(await openSource(from), options))
const failure = (from: string, options?: ReaderOptions): Promise<string> => rejected(readAll(from, options))

/** How many files this process has open. */
async function openCount(): Promise<number> {
  await settle()
  return (await readdir('/proc/self/fd')).length
}

await writeFile(path, bytes)

await t.test('a file: its bytes, in large pieces, and its size', async (t) => {
  const source = await openSource(path)
  t.equal(source.name, path)
  t.equal(source.size, bytes.length)
  const pieces: Buffer[] = []
  for await (const piece of reader(source)) pieces.push(Buffer.from(piece))
  t.strictSame(
    pieces.map(({ length }) => length),
    [2 * MiB, MiB + 7]
  )
  t.equal(difference(Buffer.concat(pieces), bytes), 'equal', 'each piece has its own memory')
})

await t.test('an empty file, and a link to a file', async (t) => {
  await writeFile(join(folder, 'empty'), '')
  t.equal((await readAll(join(folder, 'empty'))).length, 0)
  await symlink(path, join(folder, 'link'))
  t.equal(difference(await readAll(join(folder, 'link')), bytes), 'equal')
})

await t.test('a file whose size the system does not know', { skip: noProc }, async (t) => {
  const found = await readAll('/proc/self/status')
  t.match(found.toString(), /^Name:/)
})

const aSysFile = '/sys/kernel/mm/transparent_hugepage/enabled'
const noSys = existsSync(aSysFile) ? false : `needs ${aSysFile}`

await t.test('a file of which the system says a size that it has not', { skip: noSys }, async (t) => {
  const source = await openSource(aSysFile)
  t.equal(source.size, undefined)
  t.match((await buffer(reader(source))).toString(), /^[a-z[\] ]+\n$/)
})

await t.test('a reader that is destroyed before it was read', { skip: noProc }, async (t) => {
  execFileSync('mkfifo', [join(folder, 'fifo')])
  const writer = await open(join(folder, 'fifo'), 'r+') // so that opening does not wait
  const before = await openCount()
  for (const from of [path, join(folder, 'fifo')])
    for (const error of [undefined, new Error('enough')]) {
      const stream = reader(await openSource(from))
      stream.on('error', () => undefined)
      t.equal(await openCount(), before + 1)
      stream.destroy(error)
      await once(stream, 'close').catch(() => undefined)
      t.equal(await openCount(), before, `${from}: closed`)
    }
  const waiting = reader(await openSource(join(folder, 'fifo')))
  waiting.resume()
  await settle()
  waiting.destroy()
  t.equal(await openCount(), before, 'one that waits for a pipe, too')
  const aborted = AbortSignal.abort()
  const sink = new Writable({ write: (_piece, _encoding, done) => done() })
  await rejected(pipeline(reader(await openSource(path)), sink, { signal: aborted }))
  t.equal(await openCount(), before, 'a pipeline that was aborted before it began')
  await writer.close()
})

await t.test('a source that is missing, a directory, or behind a file', async (t) => {
  const missing = join(folder, 'missing')
  t.equal(await failure(missing), `SourceError SOURCE_MISSING: ${missing} does not exist`)
  const behind = join(path, 'inside')
  t.equal(await failure(behind), `SourceError SOURCE_MISSING: ${behind} does not exist`)
  t.equal(
    await failure(folder),
    `SourceError SOURCE_UNREADABLE: ${folder} is a directory; a source is a file, a device or a pipe (for a folder: tar -c ${folder} | hexz build -)`
  )
})

await t.test(
  'a file that must not be read',
  { skip: process.getuid?.() === 0 && 'root reads everything' },
  async (t) => {
    const secret = join(folder, 'secret')
    await writeFile(secret, 'x', { mode: 0 })
    t.equal(
      await failure(secret),
      `SourceError SOURCE_UNREADABLE: ${secret} can't be read: permission denied`
    )
  }
)

await t.test('expectSize: fewer and more bytes are errors', async (t) => {
  t.equal((await readAll(path, { expectSize: bytes.length })).length, bytes.length)
  t.equal(
    await failure(path, { expectSize: bytes.length + 1 }),
    `SourceError SOURCE_SHORT: ${path} ended after ${bytes.length} of ${bytes.length + 1} bytes`
  )
  t.equal(
    await failure(path, { expectSize: bytes.length - 1 }),
    `SourceError SOURCE_SHORT: ${path} gave more than the ${bytes.length - 1} bytes expected`
  )
  const pipe = iterableSource(Readable.from([Buffer.from('abc')]), 'a pipe')
  t.equal(
    await rejected(buffer(reader(pipe, { expectSize: 4 }))),
    'SourceError SOURCE_SHORT: a pipe ended after 3 of 4 bytes'
  )
})

const changes: Record<string, (file: string) => Promise<void>> = {
  grows: (file) => appendFile(file, 'more'),
  'grows a lot': (file) => appendFile(file, randomBytes(3 * MiB, 2)),
  shrinks: (file) => truncate(file, 5 * MiB),
  'is written to in place': async (file) => {
    await utimes(file, new Date(), new Date(Date.now() + 5000))
  }
}
for (const [how, change] of Object.entries(changes))
  await t.test(`a file that ${how} while it is read`, async (t) => {
    const file = join(folder, `changing ${how}`)
    await writeFile(file, randomBytes(8 * MiB, 3))
    const source = await openSource(file)
    const read = async (): Promise<void> => {
      let isFirst = true
      for await (const _ of reader(source)) {
        if (isFirst) await change(file)
        isFirst = false
      }
    }
    t.equal(
      await rejected(read()),
      `SourceError SOURCE_CHANGED: ${file} changed while it was read: build from something that stands still, such as a filesystem snapshot`
    )
  })

await t.test(
  'every handle is closed: at the end, after an error, when nobody reads on',
  { skip: noProc },
  async (t) => {
    await readAll(path)
    const before = await openCount()
    await readAll(path)
    await failure(path, { expectSize: 5 })
    await failure(folder)
    const stream = reader(await openSource(path))
    stream.once('data', () => stream.destroy())
    await rejected(buffer(stream))
    const unread = await openSource(path)
    await unread.close()
    await unread.close()
    t.equal(await openCount(), before)
  }
)

await t.test('an iterable: any cuts, strings, empty pieces', async (t) => {
  const read = (pieces: Iterable<Uint8Array | string>): Promise<Buffer> =>
    buffer(reader(iterableSource(Readable.from(pieces), 'x')))
  const small = bytes.subarray(0, 20_000)
  for (const pieces of [[small], cutEvery(small, 1), cutRandomly(small, 4, 500)])
    t.equal(difference(await read(pieces), small), 'equal')
  t.equal((await read(['größe', Buffer.alloc(0), '', Buffer.from('!')])).toString(), 'größe!')
  t.equal((await read([])).length, 0)
})

await t.test('an iterable that gives no bytes is an error, not an empty source', async (t) => {
  for (const [piece, type] of [
    [{ a: 1 }, 'object'],
    [5, 'number'],
    [[1, 2], 'object']
  ] as const) {
    const source = iterableSource(Readable.from([Buffer.from('a'), piece]) as AsyncIterable<Uint8Array>, 'x')
    t.equal(
      await rejected(buffer(reader(source))),
      `SourceError SOURCE_UNREADABLE: x gave something other than bytes: ${type}`
    )
  }
})

await t.test('an iterable that fails is a source error with its cause', async (t) => {
  const cause = Object.assign(new Error('the line is dead'), { code: 'ECONNRESET' })
  const failing = new Readable({ read: () => undefined })
  failing.push('abc')
  failing.destroy(cause)
  const error = await buffer(reader(iterableSource(failing, 'x'))).catch((error: unknown) => error)
  t.equal(
    await rejected(Promise.reject(error as Error)),
    "SourceError SOURCE_UNREADABLE: x can't be read: the line is dead"
  )
  t.equal((error as Error).cause, cause)
})

await t.test('a folder of links and files is left as it was', async (t) => {
  await mkdir(join(folder, 'sub'))
  const before = (await readdir(folder)).length
  await readAll(path)
  t.equal((await readdir(folder)).length, before)
})
