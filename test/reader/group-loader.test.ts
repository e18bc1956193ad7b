import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { writeFields } from '../../lib/format/bytes.js'
import { blake3 } from '../../lib/format/digest.js'
import { blockPrefixSize, encodeFrame } from '../../lib/format/frame.js'
import { memoryLimits } from '../../lib/limits.js'
import type { ChunkGroup } from '../../lib/reader/chunk-groups.js'
import { createGroupLoader } from '../../lib/reader/group-loader.js'
import { createWorkerPool, inlinePool } from '../../lib/workers/pool.js'
import { randomBytes } from '../helpers/data.js'
import { memorySource } from '../helpers/snapshots.js'

const KiB = 1024

/** A group of one chunk that is stored as it is, and the snapshot's bytes. */
function oneChunk(chunk: Uint8Array): { frame: Uint8Array; group: ChunkGroup } {
  const payload = Buffer.concat([writeFields(blockPrefixSize).u64(0).done(), chunk])
  const frame = encodeFrame(payload, { type: 'block', rawSize: chunk.length })
  const page = {
    stream: 0,
    streamOffset: 0,
    entryCount: 1,
    starts: Float64Array.of(0, chunk.length),
    kinds: Uint8Array.of(0),
    digests: blake3(chunk),
    blockOffsets: Float64Array.of(0),
    storedSizes: Uint32Array.of(frame.length),
    innerOffsets: Uint32Array.of(0)
  }
  return {
    frame,
    group: { page, indexes: [0], offset: 0, storedSize: frame.length, rawSize: chunk.length }
  }
}

await t.test('however many read at once, one turn decodes no more than its share', async (t) => {
  const chunk = randomBytes(256 * KiB, 1)
  const { frame, group } = oneChunk(chunk)
  const load = createGroupLoader({
    source: memorySource(frame),
    sealing: undefined,
    dictionary: () => Promise.resolve(undefined),
    pool: inlinePool
  })
  const chunks = Array.from({ length: 64 }, () => Buffer.alloc(chunk.length))
  const loaded = Promise.all(chunks.map((into) => load(group, [into], false)))
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

await t.test(
  'who does it: this thread what comes alone, others a crowd and what is read ahead',
  async (t) => {
    const chunk = randomBytes(64 * KiB, 2)
    const { frame, group } = oneChunk(chunk)
    const pool = createWorkerPool(1)
    let sentCount = 0
    const load = createGroupLoader({
      source: memorySource(frame),
      sealing: undefined,
      dictionary: () => Promise.resolve(undefined),
      pool: {
        ...pool,
        run(name, args) {
          sentCount += 1
          return pool.run(name, args)
        }
      }
    })
    const read = async (isAhead: boolean): Promise<void> => {
      const into = Buffer.from(new SharedArrayBuffer(chunk.length))
      await load(group, [into], isAhead)
      t.ok(into.equals(chunk))
    }
    await read(false)
    t.equal(sentCount, 0)
    await Promise.all([read(true), read(false)])
    t.equal(sentCount, 1, 'what is read ahead, and it makes no crowd')
    await Promise.all([read(false), read(false)])
    t.equal(sentCount, 2, 'the second of two')
    await read(false)
    t.equal(sentCount, 3, 'and those that come soon behind')
    await pool.close()
  }
)
