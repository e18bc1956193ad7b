/**
 * Predicts what each profile gives for files, builds them all, and prints how far the prediction was off: of the
 * ratio and, for what it is worth, of the speed. Exits 1 where a ratio is off by more than 10 %.
 *
 *   npm run bench:predict -- FILE...
 */
import { basename } from 'node:path'
import { build, predict, type PredictedBuild } from '../lib/index.js'
import { discard } from './discard.js'

const MiB = 1024 * 1024
const offMax = 0.1
const percent = (share: number): string => `${(100 * share).toFixed(2)} %`

let worst = 0
for (const path of process.argv.slice(2)) {
  const start = performance.now()
  const { builds, readSize } = await predict({ source: path })
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  process.stdout.write(`${basename(path)}: ${seconds} s for ${Math.round(readSize / MiB)} MiB\n`)
  for (const predicted of builds) worst = Math.max(worst, Math.abs(await check(path, predicted)))
}
process.stdout.write(`the worst is ${percent(worst)} off\n`)
process.exitCode = worst > offMax ? 1 : 0

/** Builds, prints a line, and gives by how much the predicted ratio was too high. */
async function check(path: string, predicted: PredictedBuild): Promise<number> {
  const { profile, cdc, dictionary, dictionaryPays, ratio, error, speed } = predicted
  const start = performance.now()
  const built = await build({
    source: path,
    target: discard(),
    profile,
    cdc,
    dictionary: dictionary ? 'auto' : 'off'
  })
  const size = built.streams.reduce((sum, stream) => sum + stream.size, 0)
  const realSpeed = (size / (performance.now() - start)) * 1000
  const realRatio = size / built.fileSize
  const off = realRatio === 0 ? 0 : ratio / realRatio - 1
  const used = built.dictionary !== undefined
  const cells = [
    profile.padEnd(9),
    cdc ? 'cdc' : '   ',
    dictionary ? 'dictionary' : '          ',
    `ratio ${ratio.toFixed(2).padStart(10)}, built ${realRatio.toFixed(2).padStart(10)}`,
    `off by ${percent(off).padStart(8)} (± ${percent(error)})`,
    `MiB/s ${(speed / MiB).toFixed(0).padStart(5)}, built ${(realSpeed / MiB).toFixed(0).padStart(5)}`,
    ...(dictionaryPays === used ? [] : [used ? 'a dictionary was used' : 'no dictionary was used'])
  ]
  process.stdout.write(`  ${cells.join('  ')}\n`)
  return off
}
