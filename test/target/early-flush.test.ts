import type { FileHandle } from 'node:fs/promises'
import t from 'tap'
import { memoryLimits } from '../../lib/limits.js'
import { createEarlyFlush } from '../../lib/target/early-flush.js'
import { rejected } from '../helpers/errors.js'

/** A handle whose flushes end when the test says so. */
function fakeHandle(): {
  handle: FileHandle
  flushes: { resolve: () => void; reject: (error: Error) => void }[]
} {
  const flushes: { resolve: () => void; reject: (error: Error) => void }[] = []
  const datasync = (): Promise<void> =>
    new Promise((resolve, reject) => {
      flushes.push({ resolve, reject })
    })
  return { handle: { datasync } as FileHandle, flushes }
}

const { flushSize } = memoryLimits

await t.test('one flush at a time, once enough was written', async (t) => {
  const { handle, flushes } = fakeHandle()
  const early = createEarlyFlush(handle)
  early.wrote(flushSize - 1)
  t.equal(flushes.length, 0)
  early.wrote(1)
  t.equal(flushes.length, 1)
  early.wrote(5 * flushSize)
  t.equal(flushes.length, 1, 'the first is still under way')
  flushes[0]?.resolve()
  await early.end()
  early.wrote(1)
  t.equal(flushes.length, 2, 'what came meanwhile is not forgotten')
  flushes[1]?.resolve()
  await early.end()
})

await t.test('a flush that fails is told at the next write, and at the end', async (t) => {
  const { handle, flushes } = fakeHandle()
  const early = createEarlyFlush(handle)
  early.wrote(flushSize)
  flushes[0]?.reject(new Error('the disk is gone'))
  await new Promise((resolve) => setImmediate(resolve))
  t.throws(() => early.wrote(1), new Error('the disk is gone'))
  t.equal(await rejected(early.end()), 'Error: the disk is gone')
  t.equal(flushes.length, 1)
})

await t.test('the end waits for the flush under way, and tells its failure', async (t) => {
  const { handle, flushes } = fakeHandle()
  const early = createEarlyFlush(handle)
  early.wrote(flushSize)
  const end = rejected(early.end())
  flushes[0]?.reject(new Error('no space left'))
  t.equal(await end, 'Error: no space left')
})
