import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { build } from '../../lib/index.js'
import { mixedBytes, zeroBytes } from '../helpers/data.js'
import { failsEverywhere, makeFaults, noFaults, tellCounts, type FaultCase } from '../helpers/every-call.js'

const disk = Buffer.concat([mixedBytes(70_000, 1), zeroBytes(30_000)])
const flags = ['--concurrency', '1', '--progress', 'none']

await t.test('every call of an extract fails once', async (t) => {
  const faults = makeFaults(t)
  if (faults === undefined) {
    t.pass('not run', { skip: noFaults })
    return
  }
  const at = (name: string): string => join(faults.folder, name)
  writeFileSync(at('disk.img'), disk)
  await build({ source: at('disk.img'), target: at('a.st'), concurrency: 1 })
  const snapshot = readFileSync(at('a.st'))
  const target = 'new.img'
  const cases: readonly Omit<FaultCase, 'target' | 'result'>[] = [
    {
      name: 'extract',
      args: ['extract', 'a.st', '-o', target, ...flags],
      files: { 'a.st': snapshot }
    },
    {
      name: 'extract of a pipe, --force',
      sparedCall: 'stat',
      args: ['extract', '-', '-o', target, '--force', ...flags],
      files: { [target]: Buffer.from('what was there before') },
      stdin: snapshot
    }
  ]
  for (const one of cases) await failsEverywhere(t, { ...one, target, result: disk }, faults)
  tellCounts(t)
})
