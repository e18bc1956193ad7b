import t from 'tap'
import { createAdmission } from '../../lib/reader/admission.js'
import { createCache } from '../../lib/reader/cache.js'
import { createReadAhead } from '../../lib/reader/read-ahead.js'
import { settle } from '../helpers/streams.js'

const KiB = 1024

await t.test('read-ahead: what it tells', (t) => {
  const next = createReadAhead(1024 * KiB)
  const k = (stream: number, start: number, end: number): number[] | undefined => {
    const ahead = next(stream, start * KiB, end * KiB)
    return ahead === undefined ? undefined : [ahead.start / KiB, ahead.end / KiB]
  }
  t.equal(k(0, 0, 32), undefined, 'one read is none in a row')
  t.equal(k(0, 32, 64), undefined, 'the second may be there by chance')
  t.strictSame(k(0, 64, 128), [128, 384], 'the third is not')
  t.equal(k(1, 128, 192), undefined, 'another stream')
  t.equal(k(0, 500, 550), undefined, 'another reader')
  t.equal(k(0, 128, 192), undefined, 'enough is ahead')
  t.strictSame(k(0, 192, 320), [384, 832], 'the window doubles')
  t.equal(k(0, 550, 600), undefined, 'the other one, once')
  t.strictSame(k(0, 600, 700), [700, 956], 'and twice')
  t.strictSame(k(0, 320, 800), [832, 1824], 'up to the most')
  t.strictSame(k(0, 800, 1700), [1824, 2724])
  t.equal(createReadAhead(0)(0, 0, 5), undefined)
  for (let i = 0; i < 20; i++) k(2, 10_000 * i, 10_000 * i + 1)
  t.equal(k(0, 1700, 1800), undefined, 'forgotten after many others')
  t.end()
})

await t.test('a cache keeps what was used last, in bytes', (t) => {
  const cache = createCache<number, string>(10, (value) => value.length)
  cache.add(1, 'aaaa')
  cache.add(2, 'bbbb')
  t.equal(cache.peek(1), 'aaaa')
  cache.add(3, 'cccc')
  t.strictSame([cache.peek(1), cache.peek(2), cache.peek(3)], ['aaaa', undefined, 'cccc'])
  t.equal(cache.size, 8)
  cache.add(1, 'aa')
  t.equal(cache.size, 6)
  cache.add(4, 'x'.repeat(11))
  t.strictSame([cache.size, cache.peek(4)], [0, undefined])
  t.equal(cache.peek(1), undefined, 'what is too large pushes out all others')
  t.end()
})

await t.test('admission: in order, within bounds, and the large one alone', async (t) => {
  const admission = createAdmission(10)
  const log: string[] = []
  const enter = (name: string, size: number): void => {
    void admission.enter(size).then(() => log.push(name))
  }
  for (const [name, size] of Object.entries({ a: 6, b: 4, c: 1, large: 50, d: 2 })) enter(name, size)
  await settle()
  t.strictSame(log, ['a', 'b'])
  t.equal(admission.hasRoom(0), false, 'somebody waits')
  admission.leave(6)
  await settle()
  t.strictSame(log, ['a', 'b', 'c'])
  admission.leave(4)
  admission.leave(1)
  await settle()
  t.strictSame(log, ['a', 'b', 'c', 'large'])
  admission.leave(50)
  await settle()
  t.strictSame(log, ['a', 'b', 'c', 'large', 'd'])
  t.equal(admission.hasRoom(8), true)
  t.equal(admission.hasRoom(9), false)
})
