import t from 'tap'
import { createGate } from '../../lib/serve/gate.js'
import { settle } from '../helpers/streams.js'

await t.test('a gate lets in what has room, in order, and the large one alone', async (t) => {
  const log: string[] = []
  const gate = createGate(() => 10, 3)
  const enter = (name: string, size: number): void => {
    void gate.enter(size).then((isIn) => log.push(`${name} ${isIn ? 'in' : 'away'}`))
  }
  for (const [name, size] of Object.entries({ a: 4, b: 4, c: 4, d: 1, e: 50, f: 1 })) enter(name, size)
  await settle()
  t.strictSame(log, ['a in', 'b in'], 'd waits behind c')
  gate.leave(4)
  await settle()
  t.strictSame(log.splice(0), ['a in', 'b in', 'c in', 'd in'])
  gate.leave(4)
  gate.leave(4)
  await settle()
  t.strictSame(log, [])
  gate.leave(1)
  await settle()
  t.strictSame(log, ['e in'])
  gate.close()
  enter('g', 1)
  await settle()
  t.strictSame(log, ['e in', 'f away', 'g away'])
})

await t.test('a gate tells when there is something in it, and once when there is not', async (t) => {
  const log: string[] = []
  const create = (): ReturnType<typeof createGate> =>
    createGate(() => 10, 10, { began: () => log.push('began'), ended: () => log.push('ended') })
  const gate = create()
  await gate.enter(1)
  await gate.enter(1)
  gate.leave(1)
  t.strictSame(log, ['began'])
  gate.leave(1)
  await gate.enter(1)
  t.strictSame(log.splice(0), ['began', 'ended', 'began'])
  gate.close()
  gate.close()
  gate.leave(1)
  t.strictSame(log.splice(0), ['ended'], 'closed with something in it')
  create().close()
  t.strictSame(log, [], 'closed when it is empty')
})
