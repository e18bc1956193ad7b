import fc from 'fast-check'
import type { Test } from 'tap'

/**
 * Runs a property and prints its seed, so that a failure can be run again:
 * `HEXZ_TEST_SEED=n npx tap …`. fast-check's error names seed and smallest counterexample as well.
 */
export async function checkProperty<Values>(
  t: Test,
  property: fc.IAsyncProperty<Values> | fc.IProperty<Values>,
  runs: number
): Promise<void> {
  const given = process.env.HEXZ_TEST_SEED
  const seed = given === undefined ? Date.now() & 0x7fffffff : Number(given)
  t.comment(`seed ${seed}, ${runs} runs`)
  try {
    await fc.assert(property as fc.IAsyncProperty<Values>, { seed, numRuns: runs })
    t.pass(`${runs} runs`)
  } catch (error) {
    t.fail(error instanceof Error ? error.message : String(error))
  }
}
