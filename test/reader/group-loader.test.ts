import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { writeFields } from '../../lib/format/bytes.js'
import { blake3 } from '../../lib/format/digest.js'
import { blockPrefixSize, encodeFrame } from '../../lib/format/frame.js'
import { memoryLimits } from '../../lib/limits.js'
import { createGroupLoader } from '../../lib/reader/group-loader.js'
import { inlinePool } from '../../lib/workers/pool.js'
import { randomBytes } from '../helpers/data.js'
import { memorySource } from '../helpers/snapshots.js'

const KiB = 1024

await t.test('however many read at once, one turn decodes no more than its share', async (t) => {
  const chunk = randomBytes(256 * KiB, 1)
  const payload = Buffer.concat([writeFields(blockPrefixSize).u64(0).done(), chunk])
  const frame = encodeFrame(payload, { type: 'block', rawSize: chunk.length })
  const place = {
    start: 0,
    storedSize: frame.length,
    offset: 0,
    rawStart: 0,
    rawSize: chunk.length,
    innerOffset: 0
  }
  const group = {
    offset: 0,
    storedSize: frame.length,
    rawSize: chunk.length,
    blocks: [{ ...place, digest: blake3(chunk) }]
  }
  const load = createGroupLoader({
    source: memorySource(frame),
    sealing: undefined,
    dictionary: () => Promise.resolve(undefined),
    pool: inlinePool
  })
  const chunks = Array.from({ length: 64 }, () => Buffer.alloc(chunk.length))
  const loaded = Promise.all(chunks.map((into) => load(group, [into])))
  const countFilled = (): number => chunks.filter((bytes) => bytes.equals(chunk)).length

  const steps: number[] = []
  for (let filled = 0; filled < chunks.length;) {
    await nextTurn()
    const found = countFilled()
    steps.push(found - filled)
    filled = found
  }
  await loaded
  t.ok(Math.max(...steps) <= memoryLimits.outputSizeMax / chunk.length, `in steps of ${steps.join(', ')}`)
})
