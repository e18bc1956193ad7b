import t from 'tap'
import { encodeFrame, encodeRepeatFrame } from '../../lib/format/frame.js'
import { blockFrame, chunkEntry, createForgery, skippableFrame, type Forgery } from './forge.js'
import { range, verdictsOf } from './verdicts.js'

/** Frames that contradict each other under checksums and digests that are right, and what each command says of them. */

const a = Buffer.alloc(512, 'a')
const b = Buffer.alloc(512, 'b')
const ab = Buffer.concat([a, b])

interface RepeatCase {
  readonly name: string
  /** Adds what is before the page, and gives the page's entries. */
  readonly make: (forgery: Forgery) => ReturnType<typeof chunkEntry>[]
  readonly verify: string
}

const at = (offset: number, why: string): string => `BAD_STRUCTURE: f.st is damaged at byte ${offset}: ${why}`
const notThere = (offset: number): string =>
  `BAD_STRUCTURE: f.st is damaged: a repeat names a block at byte ${offset} that is not there, or not of that size`

const repeatCases: readonly RepeatCase[] = [
  {
    name: 'of another stored size than its block',
    make(forgery) {
      const block = forgery.add(blockFrame(0, a))
      forgery.add(encodeRepeatFrame(0, 512, [block.offset]))
      return [chunkEntry('block', a, block), chunkEntry('repeat', a, { ...block, size: block.size + 1 })]
    },
    verify: notThere(62)
  },
  {
    name: 'of the first part of a block',
    make(forgery) {
      const block = forgery.add(blockFrame(0, ab))
      forgery.add(encodeRepeatFrame(0, 512, [block.offset]))
      const second = chunkEntry('block', b, block, { innerOffset: 512 })
      return [chunkEntry('block', a, block), second, chunkEntry('repeat', a, block)]
    },
    verify: notThere(62)
  },
  {
    name: 'of a block of two chunks, with the digest of the first',
    make(forgery) {
      const block = forgery.add(blockFrame(0, ab))
      forgery.add(encodeRepeatFrame(0, 1024, [block.offset]))
      const { digest } = chunkEntry('block', a, block)
      const second = chunkEntry('block', b, block, { innerOffset: 512 })
      return [chunkEntry('block', a, block), second, chunkEntry('repeat', ab, block, { digest })]
    },
    verify:
      'BAD_DIGEST: f.st is damaged at byte 62: the block there does not hold the chunk that the index names'
  },
  {
    name: 'of a frame in a skippable one',
    make(forgery) {
      const skipped = forgery.add(skippableFrame(blockFrame(512, b)))
      const inner = { offset: skipped.offset + 16, size: skipped.size - 16 }
      const block = forgery.add(blockFrame(0, a))
      forgery.add(encodeRepeatFrame(0, 512, [inner.offset]))
      return [chunkEntry('block', a, block), chunkEntry('repeat', b, inner)]
    },
    verify: notThere(78)
  },
  {
    name: 'of a frame in the bytes of a block',
    make(forgery) {
      const nested = blockFrame(512, b)
      const block = forgery.add(blockFrame(0, nested))
      const inner = { offset: block.offset + 24, size: nested.length }
      forgery.add(encodeRepeatFrame(0, 512, [inner.offset]))
      return [chunkEntry('block', nested, block), chunkEntry('repeat', b, inner)]
    },
    verify: notThere(86)
  },
  {
    name: 'of a hole',
    make(forgery) {
      const block = forgery.add(blockFrame(0, a))
      const hole = forgery.add(skippableFrame(Buffer.alloc(64)))
      forgery.add(encodeRepeatFrame(0, 512, [hole.offset]))
      return [chunkEntry('block', a, block), chunkEntry('repeat', b, hole)]
    },
    verify: notThere(598)
  },
  {
    name: 'in a frame of none',
    make(forgery) {
      const block = forgery.add(blockFrame(0, a))
      forgery.add(encodeFrame(Buffer.alloc(0), { type: 'repeat' }))
      return [chunkEntry('block', a, block)]
    },
    verify: 'BAD_STRUCTURE: f.st is damaged: a repeat frame in it names no block'
  },
  {
    name: 'that starts inside its block',
    make(forgery) {
      const block = forgery.add(blockFrame(0, ab))
      forgery.add(encodeRepeatFrame(0, 512, [block.offset]))
      const second = chunkEntry('block', b, block, { innerOffset: 512 })
      return [chunkEntry('block', a, block), second, chunkEntry('repeat', b, block, { innerOffset: 512 })]
    },
    verify:
      'BAD_STRUCTURE: the index page at byte 1132 of f.st is damaged: chunk 3 starts at byte 512 of its block, not at 0'
  },
  {
    name: 'and a block before the one before it',
    make(forgery) {
      const first = forgery.add(blockFrame(0, a))
      const second = forgery.add(blockFrame(512, b))
      return [chunkEntry('block', b, second), chunkEntry('block', a, first)]
    },
    verify:
      'BAD_STRUCTURE: the index page at byte 1134 of f.st is damaged: chunk 2 names a block before the last one'
  }
]

for (const { name, make, verify } of repeatCases) {
  await t.test(`a repeat ${name}`, async (t) => {
    const forgery = createForgery()
    const entries = make(forgery)
    forgery.addPage({ stream: 0, streamOffset: 0, entries })
    const said = await verdictsOf(forgery.end())
    t.equal(said.verify, verify)
    t.equal(said.recover.isComplete, false, JSON.stringify(said.recover))
  })
}

await t.test('blocks that the frames hold more of, or less, than the index says', async (t) => {
  for (const [stored, said] of [
    [ab, 1024],
    [a.subarray(0, 500), 500]
  ] as const) {
    const forgery = createForgery()
    const block = forgery.add(blockFrame(0, stored))
    forgery.addPage({ stream: 0, streamOffset: 0, entries: [chunkEntry('block', a, block)] })
    const { extract, recover } = await verdictsOf(forgery.end())
    t.equal(extract, at(62, `the block there holds ${said} bytes, not the 512 of the index`))
    t.equal(recover.isComplete, false)
  }
})

/** Stream 1 holds what a page says that is of stream 0. */
await t.test('a page of one stream, frames of another', async (t) => {
  const made = (stream: number): Forgery => {
    const forgery = createForgery(['disk', 'memory'])
    const block = forgery.add(blockFrame(0, a, { stream: 1 - stream }))
    forgery.addPage({ stream, streamOffset: 0, entries: [chunkEntry('block', a, block)] })
    return forgery
  }
  const why = 'f.st is damaged at byte 69: the block there belongs to another stream'
  const ofOther = await verdictsOf(made(0).end())
  t.equal(ofOther.verify, `BAD_STRUCTURE: ${why}`)
  t.strictSame(ofOther.recover, {
    isComplete: false,
    recovered: [range(0, 512)],
    lost: [],
    damage: [],
    fault: why,
    bytes: 'a512'
  })
  const ofEmpty = await verdictsOf(made(1).end())
  t.equal(ofEmpty.verify, `BAD_STRUCTURE: ${why}`)
  t.strictSame(ofEmpty.recover, {
    isComplete: false,
    recovered: [],
    lost: [],
    damage: [range(69, 605)],
    bytes: ''
  })
})

/** A root of that many streams with other names than the header's. */
const namesOf = (names: readonly string[]): Buffer =>
  createForgery(['disk', 'memory']).end(({ streams: [first], ...root }) => {
    if (first === undefined) throw new Error('the header names two')
    return { ...root, streams: names.map((name) => ({ ...first, name })) }
  })

await t.test('names in the root are those of the header, one by one', async (t) => {
  t.equal((await verdictsOf(namesOf(['disk', 'memory']))).verify, 'intact, 0')
  const other = 'BAD_STRUCTURE: the index root of f.st is damaged: its streams are not those of the header'
  for (const names of [
    ['memory', 'disk'],
    ['disk\0memory'],
    ['disk', 'memor\ufffd'],
    ['disk', 'memory', 'x']
  ])
    t.equal((await verdictsOf(namesOf(names))).verify, other, JSON.stringify(names))
})
