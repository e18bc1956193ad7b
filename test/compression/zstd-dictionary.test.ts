import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createBlockDecoder, createBlockEncoder } from '../../lib/compression/codecs.js'
import { isFormatted, isFormattedIntact } from '../../lib/compression/zstd-dictionary.js'
import { difference } from '../helpers/bytes.js'
import { createRandom, phraseBytes } from '../helpers/data.js'
import { caught } from '../helpers/errors.js'
import { scratch } from '../helpers/run-cli.js'

const frame = createBlockEncoder('zstd', 3)(Buffer.alloc(9 * 100, 'a')) ?? new Uint8Array(0)
const noZstd = spawnSync('zstd', ['--version']).error === undefined ? false : 'zstd is not installed'

await t.test('raw content is not formatted', (t) => {
  t.equal(isFormatted(phraseBytes(1000, 1)), false)
  t.equal(isFormatted(Buffer.from([0x37, 0xa4, 0x30])), false)
  t.equal(isFormatted(Buffer.from([0x37, 0xa4, 0x30, 0xec])), true)
  for (const size of [4, 8, 9, 100]) {
    const bytes = Buffer.alloc(size)
    bytes.writeUInt32LE(0xec30a437)
    t.equal(isFormattedIntact(bytes), false)
    for (const create of [
      () => createBlockEncoder('zstd', 3, bytes),
      () => createBlockDecoder(bytes)('zstd', frame, 900, true)
    ])
      t.match(
        caught(create),
        /^CorruptError BAD_STRUCTURE: damaged: the tables of the Zstandard dictionary are no/
      )
  }
  t.end()
})

await t.test('what `zstd --train` makes, whole and damaged', { skip: noZstd }, (t) => {
  const folder = scratch(t)
  const [source, made] = [join(folder, 'source'), join(folder, 'made')]
  writeFileSync(source, phraseBytes(400_000, 1))
  const train = spawnSync('zstd', ['--train', source, '-B2048', '--maxdict=8192', '-q', '-o', made])
  t.equal(train.status, 0)
  const dictionary = readFileSync(made)
  t.equal(isFormatted(dictionary), true)
  t.equal(isFormattedIntact(dictionary), true)
  const raw = phraseBytes(3000, 2)
  const stored = createBlockEncoder('zstd', 3, dictionary)(raw) ?? raw
  t.equal(difference(createBlockDecoder(dictionary)('zstd', stored, raw.length, true), raw), 'equal')

  // The bindings end the process over what they do not like, so this test's end is its result.
  const random = createRandom(1)
  let refusedCount = 0
  let takenCount = 0
  for (let round = 0; round < 2000; round++) {
    const damaged = Buffer.from(dictionary)
    for (let i = 0; i <= random.below(3); i++) damaged[8 + random.below(200)] = random.below(256)
    if (!isFormattedIntact(damaged)) {
      refusedCount += 1
      continue
    }
    takenCount += 1
    createBlockEncoder('zstd', 1, damaged)
    caught(() => createBlockDecoder(damaged)('zstd', stored, raw.length, true))
  }
  t.ok(refusedCount > 500 && takenCount > 100, `${refusedCount} refused, ${takenCount} taken`)
  for (let size = 8; size < 150; size++)
    t.equal(isFormattedIntact(dictionary.subarray(0, size)), false, `cut to ${size}`)
  t.end()
})
