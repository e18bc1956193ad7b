import t from 'tap'
import { encodeRepeatFrame } from '../../lib/format/frame.js'
import { createKnownBlocks } from '../../lib/reader/known-blocks.js'
import { createPageStore } from '../../lib/reader/page-store.js'
import { readPageColumns, readStructure } from '../../lib/reader/structure.js'
import { blockFrame, chunkEntry, createForgery, skippableFrame } from '../corrupt/forge.js'
import { memorySource } from '../helpers/snapshots.js'

/** Repeats of blocks that are kept, and of blocks that are forgotten because there is room for few. */

const raws = ['a', 'b', 'c', 'd'].map((letter) => Buffer.alloc(512, letter))
const [a, b] = raws as [Buffer, Buffer]
const both = Buffer.concat([a, b])
const rowSize = 48

/** What is said of a repeat in the second page, with room for `count` blocks; and how many frames were read for it. */
async function check(
  count: number,
  repeat: (places: { offset: number; size: number }[]) => ReturnType<typeof chunkEntry>
): Promise<{ said: string; blocksRead: number }> {
  const forgery = createForgery()
  const nested = forgery.add(skippableFrame(blockFrame(0, a)))
  const places = raws.map((raw, i) => forgery.add(blockFrame(i * 512, raw)))
  const shared = forgery.add(blockFrame(2048, both))
  const entries = raws.map((raw, i) => chunkEntry('block', raw, places[i] ?? nested))
  entries.push(chunkEntry('block', a, shared), chunkEntry('block', b, shared, { innerOffset: 512 }))
  forgery.addPage({ stream: 0, streamOffset: 0, entries })
  const entry = repeat([...places, shared, { offset: nested.offset + 16, size: nested.size - 16 }])
  forgery.add(encodeRepeatFrame(0, entry.rawSize, [entry.blockOffset]))
  forgery.addPage({ stream: 0, streamOffset: 3072, entries: [entry] })
  const source = memorySource(forgery.end(), 'k.st')
  const structure = await readStructure(source)
  const pages = createPageStore((number) => readPageColumns(source, structure, number), 2 ** 20)
  const known = createKnownBlocks(source, structure, undefined, pages, count * rowSize)
  for (const number of [0, 1]) known.add(await pages.get(number))
  source.reads.length = 0
  const said = await known.check(await pages.get(1)).then(
    () => 'right',
    (error: unknown) => (error as Error).message
  )
  return { said, blocksRead: source.reads.length }
}

for (const count of [100, 1]) {
  await t.test(`room for ${count}`, async (t) => {
    for (const i of [0, 1, 2, 3]) {
      const one = await check(count, (places) =>
        chunkEntry('repeat', raws[i] ?? a, places[i] ?? { offset: 0, size: 0 })
      )
      t.strictSame(one, { said: 'right', blocksRead: 0 }, 'nothing has to be decoded again')
    }
    const shared = await check(count, ([, , , , place]) =>
      chunkEntry('repeat', both, place ?? { offset: 0, size: 0 })
    )
    t.strictSame(shared, { said: 'right', blocksRead: 1 }, 'the digest of several chunks is not known')
    const none =
      /^k\.st is damaged: a repeat names a block at byte \d+ that is not there, or not of that size$/
    const other =
      /^k\.st is damaged at byte \d+: the block there does not hold the chunk that the index names$/
    const zero = { offset: 0, size: 0 }
    for (const digest of [chunkEntry('repeat', a, zero).digest, Buffer.alloc(32)])
      t.match(
        (await check(count, ([, , , , place]) => chunkEntry('repeat', both, place ?? zero, { digest }))).said,
        other
      )
    t.match((await check(count, ([place]) => chunkEntry('repeat', b, place ?? zero))).said, other)
    t.match(
      (await check(count, ([, , , , place]) => chunkEntry('repeat', a, place ?? zero))).said,
      none,
      'a part'
    )
    t.match(
      (await check(count, ([place]) => chunkEntry('repeat', a, { ...(place ?? zero), size: 535 }))).said,
      none
    )
    t.match(
      (await check(count, ([, , , , , place]) => chunkEntry('repeat', a, place ?? zero))).said,
      none,
      'nested'
    )
  })
}
