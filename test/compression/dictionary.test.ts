import t from 'tap'
import { checkDictionary, gainOf, isWorthIt, percent } from '../../lib/compression/dictionary.js'
import { planSamples } from '../../lib/compression/sampling.js'
import { memoryLimits } from '../../lib/limits.js'
import { randomBytes } from '../helpers/data.js'
import { caught } from '../helpers/errors.js'

const KiB = 1024
const MiB = 1024 * KiB

await t.test('gains', (t) => {
  t.equal(gainOf(200, 198), 100)
  t.equal(gainOf(200, 201), -50)
  t.equal(gainOf(0, 0), 0)
  t.equal(percent(125), '1.25 %')
  t.end()
})

await t.test('a dictionary must save one percent more than it takes itself', (t) => {
  t.equal(isWorthIt(100, 0, MiB), true)
  t.equal(isWorthIt(99, 0, MiB), false)
  t.equal(isWorthIt(200, MiB / 100, MiB), true)
  t.equal(isWorthIt(199, MiB / 100, MiB), false)
  t.equal(isWorthIt(5000, 100 * KiB, 0), false, 'nothing to save on')
  t.end()
})

await t.test('dictionaries from outside', (t) => {
  const bytes = randomBytes(MiB, 1)
  t.strictSame(checkDictionary(bytes, 'x'), { bytes, sampleCount: 0, gain: 0 })
  t.equal(checkDictionary(bytes.subarray(0, 8), 'x').bytes.length, 8)
  for (const size of [0, 7, MiB + 1])
    t.equal(
      caught(() => checkDictionary(Buffer.alloc(size), 'x')),
      `UsageError USAGE: x has ${size} bytes; a dictionary has 8 to 1048576 (1 MiB)`
    )
  t.equal(
    caught(() => checkDictionary(Buffer.from('37a430ec00000000ffff', 'hex'), 'x')),
    'UsageError USAGE: x is a damaged Zstandard dictionary'
  )
  t.end()
})

await t.test('samples lie all over the source, and are bounded', (t) => {
  for (const chunkSize of [512, 4 * KiB, 16 * KiB, 128 * KiB, 256 * KiB, 4 * MiB])
    for (const chunkCount of [0, 1, 7, 8, 100, 6145, 2 ** 40]) {
      const { pieces, heldOut: chunks } = planSamples(chunkCount, chunkSize)
      const name = `${chunkCount} chunks of ${chunkSize}`
      const places = new Set(pieces.map(({ chunk, start }) => chunk * chunkSize + start))
      t.equal(places.size, pieces.length, `${name}: no piece twice`)
      const pieceTotal = pieces.reduce((sum, { size }) => sum + size, 0)
      const bound = memoryLimits.samplePieceCountMax * memoryLimits.samplePieceSize
      t.ok(
        pieceTotal <= bound && chunks.length * chunkSize <= memoryLimits.heldOutSizeMax,
        `${name}: bounded`
      )
      const heldOut = new Set(chunks)
      t.equal(heldOut.size, chunks.length, `${name}: no chunk twice`)
      t.ok(
        [...heldOut].every((chunk) => chunk < chunkCount),
        `${name}: chunks inside`
      )
      t.ok(
        pieces.every(
          ({ chunk, start, size }) =>
            chunk < chunkCount && start + size <= chunkSize && size > 0 && !heldOut.has(chunk)
        ),
        `${name}: pieces inside, and of no held-out chunk`
      )
      if (chunkCount < 100) continue
      const thirds = [0, 1, 2].map(
        (third) => pieces.filter(({ chunk }) => Math.floor((3 * chunk) / chunkCount) === third).length
      )
      t.ok(Math.min(...thirds) > pieces.length / 4, `${name}: in each third`)
      t.ok(
        new Set(pieces.map(({ start }) => start)).size >= Math.min(16, Math.ceil(chunkSize / (8 * KiB))),
        name
      )
    }
  t.strictSame(planSamples(3, 4096).heldOut, [])
  t.strictSame(planSamples(16, 4096).heldOut, [2, 6, 10, 14])
  t.end()
})
