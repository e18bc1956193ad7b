import t from 'tap'
import { createFittingSlabs } from '../../lib/workers/slabs.js'

const KiB = 1024

await t.test('fitting slabs: what is free serves, and the largest stay free', (t) => {
  const made: number[] = []
  const slabs = createFittingSlabs(256 * KiB, (size) => {
    made.push(size)
    return new ArrayBuffer(size)
  })
  const use = (count: number, size: number): void => {
    const taken = Array.from({ length: count }, () => slabs.acquire(size))
    t.equal(new Set(taken.map(({ bytes }) => bytes.buffer)).size, count, 'memory of its own each')
    t.ok(taken.every(({ bytes }) => bytes.length === size))
    for (const { release } of taken) {
      release()
      release() // gives nothing a second time
    }
  }
  use(16, 16 * KiB - 5)
  t.strictSame(
    made.splice(0),
    Array.from({ length: 16 }, () => 16 * KiB)
  )
  use(16, 10)
  t.strictSame(made.splice(0), [], 'larger ones serve')
  use(4, 64 * KiB)
  t.equal(made.splice(0).length, 4)
  use(4, 64 * KiB)
  t.strictSame(made.splice(0), [], 'those of the new size have pushed out the old')
  use(4, 16 * KiB)
  t.strictSame(made.splice(0), [])
  use(5, 16 * KiB)
  t.strictSame(made.splice(0), [16 * KiB], 'no more is kept than the bound')
  use(1, 300 * KiB)
  use(4, 64 * KiB)
  t.strictSame(made, [300 * KiB], 'what is too large to be kept pushes out nothing')
  t.end()
})
