import t from 'tap'
import { encodeHoleFrame, encodeRepeatFrame } from '../../lib/format/frame.js'
import { recoverStream } from '../../lib/index.js'
import { memorySource } from '../helpers/snapshots.js'
import { blockFrame, createForgery, type Forgery } from './forge.js'
import { range, verdictsOf } from './verdicts.js'

/** What `recover` makes of frames that are intact by their checksums and contradict each other or their places. */

const a = Buffer.alloc(512, 'a')
const b = Buffer.alloc(512, 'b')
const largest = Number.MAX_SAFE_INTEGER

/** A forgery of one stream, its first chunk `a`. */
function begun(): { forgery: Forgery; block: { offset: number; size: number } } {
  const forgery = createForgery()
  return { forgery, block: forgery.add(blockFrame(0, a)) }
}

await t.test('recover: a hole or repeat that runs past 2^53 takes no place', async (t) => {
  for (const what of ['hole', 'repeat'] as const) {
    const { forgery, block } = begun()
    forgery.add(encodeHoleFrame(0, largest - 512))
    const odd =
      what === 'hole'
        ? forgery.add(encodeHoleFrame(0, largest))
        : forgery.add(encodeRepeatFrame(0, 512, [block.offset]))
    forgery.add(encodeRepeatFrame(0, 512, [block.offset]))
    const { recover } = await verdictsOf(forgery.cut())
    t.strictSame(
      recover,
      {
        isComplete: false,
        recovered: [range(0, largest)],
        lost: [],
        damage: [range(odd.offset, odd.offset + odd.size)],
        bytes: 'a512'
      },
      what
    )
  }
})

await t.test(
  'recover: holes that are kept until a block tells their place, and sum up to more than 2^53',
  async (t) => {
    const { forgery } = begun()
    const noise = forgery.add(Buffer.from('no frame at all'))
    for (let i = 0; i < 5; i++) forgery.add(encodeHoleFrame(0, largest))
    forgery.add(encodeHoleFrame(0, 512))
    forgery.add(blockFrame(2048, b))
    const { recover } = await verdictsOf(forgery.cut())
    t.strictSame(recover, {
      isComplete: false,
      recovered: [range(0, 512), range(1536, 2560)],
      lost: [range(512, 1536)],
      damage: [range(noise.offset, noise.offset + noise.size)],
      bytes: 'a512 01536 b512'
    })
  }
)

await t.test('recover: repeats that are longer or shorter than their frame says', async (t) => {
  for (const size of [511, 513, 1023]) {
    const { forgery, block } = begun()
    const repeat = forgery.add(
      encodeRepeatFrame(0, size, [block.offset, ...(size > 600 ? [block.offset] : [])])
    )
    forgery.add(blockFrame(2048, b))
    const { recover } = await verdictsOf(forgery.cut())
    t.strictSame(recover.damage, [range(repeat.offset, repeat.offset + repeat.size)], `${size}`)
    t.strictSame(recover.recovered, [range(0, 512), range(2048, 2560)])
    t.equal(recover.bytes, 'a512 01536 b512')
  }
})

await t.test('recover: a block at 2^50 is lost where the target cannot reach so far', async (t) => {
  const { forgery } = begun()
  const far = forgery.add(blockFrame(2 ** 50, b))
  forgery.add(blockFrame(512, b))
  const hole = forgery.add(encodeHoleFrame(0, 2 ** 51))
  const written: number[] = []
  const target = {
    writeAt(offset: number): Promise<void> {
      written.push(offset)
      return Promise.resolve()
    },
    setSize: (size: number): Promise<void> =>
      size < 2 ** 44
        ? Promise.resolve()
        : Promise.reject(Object.assign(new Error('EFBIG'), { code: 'EFBIG' }))
  }
  const { recovered, lost, damage } = await recoverStream(memorySource(forgery.cut(), 'f.st'), target)
  t.strictSame(
    { recovered, lost, damage, written },
    {
      recovered: [range(0, 1024)],
      lost: [],
      damage: [range(far.offset, far.offset + far.size), range(hole.offset, hole.offset + hole.size)],
      written: [0, 512]
    }
  )
})
