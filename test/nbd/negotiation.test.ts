import t from 'tap'
import { createNegotiation, type OptionResult } from '../../lib/nbd/negotiation.js'
import { goData, u16, u32 } from '../helpers/nbd-client.js'

const disk = { name: 'disk', size: 1_000_000, description: 'stream disk of x.st' }
const memory = { name: 'memory', size: 5, description: 'stream memory of x.st' }
const blockSizes = [1, 4096, 1024] as const
const none = Buffer.alloc(0)

const start = (noZeroes = true): ((type: number, data?: Uint8Array) => OptionResult) => {
  const answer = createNegotiation({ exports: [disk, memory], noZeroes, blockSizes })
  return (type, data = none) => answer(type, data)
}
/** Reply type and data of each reply. */
const told = ({ replies }: OptionResult): (readonly [number, string])[] =>
  replies.map((reply) => {
    const bytes = Buffer.from(reply)
    return [bytes.readUInt32BE(12), bytes.toString('latin1', 20)] as const
  })
const types = (result: OptionResult): number[] => told(result).map(([type]) => type)
const context = (name: string, ...queries: string[]): Buffer =>
  Buffer.concat([
    u32(name.length),
    Buffer.from(name),
    u32(queries.length),
    ...queries.flatMap((query) => [u32(query.length), Buffer.from(query)])
  ])

await t.test('exports by list, by name and by default', (t) => {
  t.same(told(start()(3)), [
    [2, '\0\0\0\x04disk'],
    [2, '\0\0\0\x06memory'],
    [1, '']
  ])
  for (const [name, size] of [
    ['', 1_000_000],
    ['disk', 1_000_000],
    ['memory', 5]
  ] as const) {
    const { replies, next } = start()(1, Buffer.from(name))
    t.equal(Buffer.from(replies[0] ?? none).readBigUInt64BE(0), BigInt(size))
    t.equal(Buffer.from(replies[0] ?? none).readUInt16BE(8), 0x103, 'read-only, many connections')
    t.match(next, { export: { size }, structured: false, allocation: false })
    t.match(start()(7, goData(name)).next, { export: { size } })
    t.equal(start()(6, goData(name)).next, 'options', 'information alone begins nothing')
  }
  t.same(start()(1, Buffer.from('Disk')), { replies: [], next: 'close' })
  t.same(start()(1, Buffer.alloc(5000)), { replies: [], next: 'close' })
  t.same(told(start()(7, goData('swap'))), [
    [0x80000006, 'there is no export "swap"; there are disk, memory']
  ])
  t.equal(Buffer.from(start(false)(1).replies[0] ?? none).length, 134)
  t.end()
})

await t.test('information that was asked for', (t) => {
  const data = Buffer.concat([u32(0), u16(4), u16(1), u16(2), u16(3), u16(99)])
  const answer = start()
  t.same(told(answer(6, data)), [
    [3, '\0\0\0\0\0\0\0\x0f\x42\x40\x01\x03'],
    [3, '\0\x01disk'],
    [3, '\0\x02stream disk of x.st'],
    [3, '\0\x03\0\0\0\x01\0\0\x10\0\0\0\x04\0'],
    [1, '']
  ])
  answer(8)
  t.equal(told(answer(6, data))[0]?.[1].slice(-2), '\x01\x83', 'with structured replies: no fragments')
  t.end()
})

await t.test('metadata contexts', (t) => {
  const answer = start()
  const all = context('disk', 'base:allocation')
  t.same(told(answer(10, all)), [[0x80000003, 'structured replies must be negotiated first']])
  t.same(types(answer(8)), [1])
  t.same(told(answer(9, context('disk'))), [
    [4, '\0\0\0\0base:allocation'],
    [1, '']
  ])
  t.same(types(answer(9, context('disk', 'base:'))), [4, 1])
  t.same(types(answer(9, context('disk', 'x-other:y'))), [1])
  t.match(answer(7, goData('disk')).next, { allocation: false }, 'a list chooses nothing')
  t.same(told(answer(10, context('', 'base:allocation', 'base:allocation'))), [
    [4, '\0\0\0\x01base:allocation'],
    [1, '']
  ])
  t.match(answer(7, goData('disk')).next, { structured: true, allocation: true })
  t.match(answer(7, goData('memory')).next, { allocation: false }, 'it was chosen for the other export')
  t.same(types(answer(10, context('disk', 'base:'))), [1])
  t.match(answer(7, goData('disk')).next, { allocation: false }, 'a new choice replaces the old one')
  answer(10, all)
  t.same(types(answer(10, all.subarray(1))), [0x80000003])
  t.match(answer(7, goData('disk')).next, { allocation: false }, 'so does one that fails')
  t.same(types(answer(10, context('swap', 'base:allocation'))), [0x80000006])
  t.end()
})

await t.test('what is not known or malformed is refused, and the talk goes on', (t) => {
  const answer = start()
  for (const type of [0, 4, 5, 11, 0xffffffff]) {
    t.same(told(answer(type)), [[0x80000001, `option ${type} is not known here`]])
    t.equal(answer(type).next, 'options')
  }
  for (const type of [3, 8]) t.same(types(answer(type, Buffer.from('x'))), [0x80000003])
  for (const type of [6, 7, 9]) {
    if (type === 9) answer(8)
    t.same(types(answer(type, Buffer.alloc(3))), [0x80000003])
  }
  t.same(answer(2).next, 'close')
  t.same(types(answer(2)), [1])
  t.end()
})
