import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { createPolling } from '../../lib/serve/polling.js'

/** Whether something keeps the event loop from sleeping. */
const isAwake = (): boolean => process.getActiveResourcesInfo().includes('Immediate')

const asleep = async (): Promise<void> => {
  while (isAwake()) await wait(1)
}

await t.test('after the last reply the event loop stays awake, until the next request', async (t) => {
  const { began, ended } = createPolling(60_000)
  t.notOk(isAwake())
  began()
  began()
  ended()
  t.notOk(isAwake(), 'something is in work')
  ended()
  for (let turn = 0; turn < 10; turn++) {
    t.ok(isAwake())
    await nextTurn()
  }
  began()
  await nextTurn()
  await nextTurn()
  t.notOk(isAwake(), 'there it is')
})

await t.test('it falls asleep, and a client that comes late is left alone ever more often', async (t) => {
  const { began, ended } = createPolling(1)
  const turns: boolean[] = []
  for (let request = 0; request < 12; request++) {
    began()
    ended()
    turns.push(isAwake())
    await asleep()
  }
  // Polled, one rest, polled, two rests, polled, four rests …
  t.strictSame(turns.map((isPolled) => (isPolled ? 'p' : '.')).join(''), 'p.p..p....p.')
})

await t.test('a client that comes in time again is polled for each time', async (t) => {
  const { began, ended } = createPolling(200)
  began()
  ended()
  await asleep() // in vain: the next one rests
  began()
  ended()
  t.notOk(isAwake())
  for (let request = 0; request < 5; request++) {
    began()
    ended()
    t.ok(isAwake(), 'and no rest is left')
    await nextTurn()
  }
  await asleep()
})

await t.test('never where it would keep the client from its processor', (t) => {
  const { began, ended } = createPolling(0)
  began()
  ended()
  t.notOk(isAwake())
  t.end()
})
