import { readdir } from 'node:fs/promises'
import t from 'tap'
import { openSnapshot } from '../../lib/index.js'
import { makeCorpus } from '../fuzz/corpus.js'
import { fuzzPassphrase } from '../fuzz/encode.js'
import { hexz } from '../fuzz/library.js'
import { randomOf } from '../fuzz/random.js'
import { checkSnapshot } from '../fuzz/targets/snapshot.js'
import { readSample, samplePath } from '../helpers/samples.js'
import { memorySource } from '../helpers/snapshots.js'
import { found } from './found.js'

/* Snapshots that a fuzzer made, and that something went wrong with once: what is right now, every time. */

const corpus = await makeCorpus()
const [plain, sealed] = [false, true].map((isEncrypted) =>
  corpus.find((one) => one.isEncrypted === isEncrypted)
)

await t.test('the table has every file', async (t) => {
  const files = (await readdir(samplePath('corrupt/found'))).map((name) => name.replace(/\.st$/, ''))
  t.strictSame(files.sort(), Object.keys(found).sort())
})

for (const [name, { verdict }] of Object.entries(found))
  await t.test(name, async (t) => {
    const file = await readSample(`corrupt/found/${name}.st`)
    const sample = file[16] === 1 ? sealed : plain
    if (sample === undefined) throw new Error('there is no such sample')
    const credentials = sample.isEncrypted ? { passphrase: fuzzPassphrase } : {}
    const original = () => openSnapshot(memorySource(sample.file), credentials)
    const problems = new Set<string>()
    const report = (kind: string, detail: string): void => void problems.add(`${kind}: ${detail}`)
    // Each round does other things with it.
    for (let round = 0; round < 12; round++) {
      const damaged = { sample, file, story: [], isDamaged: false, isCut: false }
      const context = { library: hexz, damaged, original, report, random: randomOf(round) }
      const { verified, compare } = await checkSnapshot(context)
      compare()
      t.equal(verified.isOk ? 'intact' : verified.code, verdict, 'verify')
    }
    t.strictSame([...problems], [])
  })
