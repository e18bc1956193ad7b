import t from 'tap'
import {
  batchesPerTrial,
  createDictionaryUse,
  groupSize,
  type BatchPlan
} from '../../lib/compression/dictionary-use.js'
import { memoryLimits } from '../../lib/limits.js'

/**
 * Plans batches whose trials have these outcomes, by group; each is told `lag` batches after its plan, as when so
 * many are in work.
 */
function planAll(outcomes: readonly number[], lag: number): { uses: boolean[][]; trialCount: number } {
  const plan = createDictionaryUse()
  const untold: { plan: BatchPlan; saved: number }[] = []
  let trialCount = 0
  const uses = outcomes.map((saved) =>
    Array.from({ length: groupSize }, () => {
      if (untold.length === lag) {
        const oldest = untold.shift()
        oldest?.plan.tell(oldest.plan.isTrial ? oldest.saved : 0)
      }
      const batch = plan()
      trialCount += Number(batch.isTrial)
      untold.push({ plan: batch, saved })
      return batch.usesDictionary
    })
  )
  return { uses, trialCount }
}

await t.test('what a group tried decides for the group after the next, however many are in work', (t) => {
  const outcomes = [10, -10, 10, 0, 1, -1, 5, 5]
  const expected = [true, true, true, false, true, false, true, false]
  for (const lag of [1, 4, memoryLimits.batchesInWork(memoryLimits.workerCountMax)]) {
    const { uses, trialCount } = planAll(outcomes, lag)
    t.strictSame(
      uses,
      expected.map((use) => Array.from({ length: groupSize }, () => use)),
      `${lag} in work`
    )
    t.equal(trialCount, Math.ceil((outcomes.length * groupSize) / batchesPerTrial), 'one in eight is a trial')
  }
  t.end()
})

await t.test('trials of a group are added up', (t) => {
  const plan = createDictionaryUse()
  const first = Array.from({ length: groupSize }, plan)
  const trials = first.filter(({ isTrial }) => isTrial)
  trials.forEach(({ tell }, i) => tell(i === 0 ? -100 : 20))
  Array.from({ length: groupSize }, plan)
  t.equal(plan().usesDictionary, 20 * (trials.length - 1) - 100 > 0)
  t.ok(trials.length >= 8, 'enough of them to tell')
  t.end()
})
