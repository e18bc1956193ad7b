import t from 'tap'
import { scratch } from '../helpers/run-cli.js'
import { kill } from './kills.js'

await t.test('killed at random moments, hexz leaves nothing wrong', async (t) => {
  const { count, lateCount, ...found } = await kill(scratch(t), 6, 1)
  t.same(found, { wrong: [], unusable: [], failed: [] })
  t.comment(`${count} kills, ${lateCount} of them too late`)
})
