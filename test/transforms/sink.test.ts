import t from 'tap'
import { existsSync } from 'node:fs'
import { link, lstat, mkdir, open, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  openDescriptor,
  openTarget,
  sink,
  type FileTargetOptions,
  type SnapshotRecord,
  type Target
} from '../../transforms/index.js'
import { difference } from '../helpers/bytes.js'
import { cutEvery, cutRandomly, randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { settle } from '../helpers/streams.js'

const bytes = randomBytes(300_000, 1)

/** Records of these pieces, as the indexer makes them. */
function recordsOf(pieces: readonly Uint8Array[], release?: () => void): SnapshotRecord[] {
  const [first = new Uint8Array(0), ...rest] = pieces
  const frames = { kind: 'frames', offset: first.length, frames: rest } as const
  return [
    { kind: 'header', bytes: first },
    release === undefined ? frames : { ...frames, release },
    { kind: 'footer', offset: 0, bytes: Buffer.from('end') }
  ]
}

const write = (records: Iterable<unknown>, target: Target): Promise<void> =>
  pipeline(Readable.from(records), sink(target))
const refused = (path: string, options?: FileTargetOptions): Promise<string> =>
  rejected(openTarget(path, options))

await t.test('file: written beside itself, renamed when whole', async (t) => {
  const folder = t.testdir({})
  const path = join(folder, 'out.st')
  const target = await openTarget(path)
  t.strictSame(await readdir(folder), ['out.st.partial'])
  await write([bytes], target)
  t.strictSame(await readdir(folder), ['out.st'])
  t.equal(difference(await readFile(path), bytes), 'equal')
  await target.discard()
  t.strictSame(await readdir(folder), ['out.st'], 'a discard after the commit does nothing')
})

await t.test('file: the same bytes whole, byte by byte, in random cuts, in many pieces', async (t) => {
  const folder = t.testdir({})
  const expected = Buffer.concat([bytes, Buffer.from('end')])
  const cuts: Record<string, Iterable<unknown>> = {
    whole: [bytes, Buffer.from('end')],
    'byte by byte': [...cutEvery(bytes.subarray(0, 3000), 1), bytes.subarray(3000), Buffer.from('end')],
    'random cuts': [...cutRandomly(bytes, 2, 9000), Buffer.from('end')],
    'one record of many pieces': recordsOf(cutRandomly(bytes, 3, 100)),
    'pieces that are empty': recordsOf(cutEvery(bytes, 1000).flatMap((piece) => [piece, new Uint8Array(0)]))
  }
  for (const [name, records] of Object.entries(cuts)) {
    const path = join(folder, name)
    await write(records, await openTarget(path))
    t.equal(difference(await readFile(path), expected), 'equal', name)
  }
})

await t.test('file: a failure before it leaves nothing', async (t) => {
  const folder = t.testdir({})
  function* failing(): Generator {
    yield bytes
    throw new Error('no more')
  }
  const target = await openTarget(join(folder, 'out.st'))
  t.equal(await rejected(write(failing(), target)), 'Error: no more')
  await target.discard() // pipeline() does not wait for what a sink still has to do
  t.strictSame(await readdir(folder), [])
})

await t.test('file: an existing target is kept without force, and until the new one is whole', async (t) => {
  const folder = t.testdir({ 'out.st': 'old' })
  const path = join(folder, 'out.st')
  t.equal(await refused(path), `TargetError TARGET_EXISTS: ${path} exists already; option force replaces it`)
  t.strictSame(await readdir(folder), ['out.st'])
  function* failing(): Generator {
    yield bytes
    throw new Error('no more')
  }
  const first = await openTarget(path, { force: true })
  t.equal(await rejected(write(failing(), first)), 'Error: no more')
  await first.discard()
  t.equal(await readFile(path, 'utf8'), 'old')
  const target = await openTarget(path, { force: true })
  await target.write([Buffer.from('new')])
  t.equal(await readFile(path, 'utf8'), 'old', 'not before the commit')
  await target.commit()
  t.equal(await readFile(path, 'utf8'), 'new')
  t.strictSame(await readdir(folder), ['out.st'])
})

await t.test('file: two discards at once both wait until it is gone', async (t) => {
  const folder = t.testdir({})
  const target = await openTarget(join(folder, 'out.st'))
  await target.write([bytes])
  void target.discard()
  await target.discard()
  t.strictSame(await readdir(folder), [])
  t.match(await rejected(target.commit()), /^TargetError /)
  t.strictSame(await readdir(folder), [])
})

await t.test('file: given up while the disk is busy, it is not published', async (t) => {
  const folder = t.testdir({})
  const path = join(folder, 'out.st')
  const target = await openTarget(path)
  await target.write([bytes])
  const committed = rejected(target.commit())
  await target.discard()
  t.equal(await committed, `TargetError TARGET_CLOSED: ${path} was given up before it was finished`)
  t.strictSame(await readdir(folder), [])
})

await t.test('file: another program is faster', async (t) => {
  const folder = t.testdir({})
  const path = join(folder, 'out.st')
  const target = await openTarget(path)
  const partial = `${path}.partial`
  t.equal(
    await refused(path),
    `TargetError TARGET_EXISTS: ${partial} exists: another hexz is writing it, or one was killed; option force removes it`
  )
  await writeFile(path, 'theirs')
  t.equal(
    await rejected(target.commit()),
    `TargetError TARGET_EXISTS: ${path} was created by another program in the meantime; option force replaces it`
  )
  await target.discard()
  t.strictSame(await readdir(folder), ['out.st'])
  t.equal(await readFile(path, 'utf8'), 'theirs')
})

await t.test('file: places that cannot be', async (t) => {
  const folder = t.testdir({ file: 'x', sub: {} })
  const [missing, behind, sub] = ['no/out.st', 'file/out.st', 'sub'].map((name) => join(folder, name))
  if (missing === undefined || behind === undefined || sub === undefined) throw new Error('three names')
  t.equal(
    await refused(missing),
    `TargetError TARGET_UNWRITABLE: ${missing} can't be written: its folder does not exist`
  )
  t.equal(
    await refused(behind),
    `TargetError TARGET_UNWRITABLE: ${behind} can't be written: its folder does not exist`
  )
  for (const force of [true, false])
    t.equal(
      await refused(sub, { force }),
      `TargetError TARGET_UNWRITABLE: ${sub} can't be written: it is a directory`
    )
})

await t.test('file: the source by any name is refused as target', async (t) => {
  const folder = t.testdir({ source: 'precious' })
  const source = join(folder, 'source')
  await link(source, join(folder, 'hard'))
  await symlink('source', join(folder, 'soft'))
  await mkdir(join(folder, 'sub'))
  for (const name of ['source', 'hard', 'soft', 'sub/../source'])
    t.equal(
      await refused(`${folder}/${name}`, { force: true, sources: ['/no/such/file', source] }),
      `TargetError TARGET_IS_SOURCE: ${folder}/${name} is the same file as the source ${source}; choose another target`
    )
  const partial = join(folder, 'out.st.partial')
  await writeFile(partial, 'precious too')
  t.equal(
    await refused(join(folder, 'out.st'), { force: true, sources: [partial] }),
    `TargetError TARGET_IS_SOURCE: ${partial} is the same file as the source ${partial}; choose another target`
  )
  t.equal(await readFile(source, 'utf8'), 'precious')
  t.equal(await readFile(partial, 'utf8'), 'precious too')
})

await t.test('file: a link stays a link, and what it names is replaced', async (t) => {
  const folder = t.testdir({ real: { 'out.st': 'old' } })
  await symlink('real/out.st', join(folder, 'link.st'))
  await write([Buffer.from('new')], await openTarget(join(folder, 'link.st'), { force: true }))
  t.equal((await lstat(join(folder, 'link.st'))).isSymbolicLink(), true)
  t.equal(await readFile(join(folder, 'real/out.st'), 'utf8'), 'new')
  t.strictSame(await readdir(join(folder, 'real')), ['out.st'])
})

await t.test('file: written at any place, and sized', async (t) => {
  const folder = t.testdir({})
  const path = join(folder, 'out')
  const target = await openTarget(path)
  t.strictSame([target.isSeekable, target.isBlank], [true, true])
  await target.writeAt(5_000_000, Buffer.from('later'))
  await target.writeAt(3, Buffer.from('abc'))
  await target.setSize(10_000_000)
  await target.commit()
  const found = await readFile(path)
  t.equal(found.length, 10_000_000)
  t.equal(found.subarray(0, 9).toString('latin1'), '\0\0\0abc\0\0\0')
  t.equal(found.toString('latin1', 5_000_000, 5_000_006), 'later\0')
  t.ok((await stat(path)).blocks * 512 < 1_000_000, 'what was not written takes no space')
})

await t.test('descriptor: written where it stands, and left open', async (t) => {
  const path = join(t.testdir({ out: 'abc' }), 'out')
  const handle = await open(path, 'a')
  await write([Buffer.from('def')], openDescriptor(handle.fd, 'x'))
  await handle.write('ghi')
  await handle.close()
  t.equal(await readFile(path, 'utf8'), 'abcdefghi')
  t.equal(
    await rejected(write([bytes], openDescriptor(99_999, 'x'))),
    "TargetError TARGET_UNWRITABLE: x can't be written: EBADF: bad file descriptor, write"
  )
})

await t.test(
  'device: a full one is told',
  { skip: existsSync('/dev/full') ? false : 'needs /dev/full' },
  async (t) => {
    const target = await openTarget('/dev/full')
    t.strictSame([target.isSeekable, target.isBlank], [false, false])
    t.equal(
      await rejected(write([bytes], target)),
      "TargetError TARGET_FULL: /dev/full can't be written: no space is left there"
    )
  }
)

await t.test('released only after it was written', async (t) => {
  let written = 0
  const seen: number[] = []
  const target: Target = {
    name: 'x',
    async write(pieces) {
      await settle()
      written += pieces.length
    },
    commit: () => Promise.resolve(),
    discard: () => Promise.resolve()
  }
  await write(
    recordsOf(cutEvery(bytes, 100_000), () => seen.push(written)),
    target
  )
  t.strictSame(seen, [3])
})
