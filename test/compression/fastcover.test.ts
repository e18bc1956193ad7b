import t from 'tap'
import { createBlockEncoder } from '../../lib/compression/codecs.js'
import { listDmers, trainDictionary, type Samples } from '../../lib/compression/fastcover.js'
import { sha256 } from '../helpers/bytes.js'
import { cutEvery, phraseBytes, randomBytes, repeatBytes } from '../helpers/data.js'
import { caught } from '../helpers/errors.js'

const KiB = 1024

function samplesOf(pieces: readonly Uint8Array[]): Samples {
  return { bytes: Buffer.concat(pieces), sizes: Uint32Array.from(pieces, (piece) => piece.length) }
}

const phrases = samplesOf(cutEvery(phraseBytes(400 * KiB, 1), 4 * KiB))

await t.test('the same samples give the same dictionary, on every machine', (t) => {
  const digests = [512, 2048, 4096].map((segmentSize) =>
    sha256(trainDictionary(phrases, { size: 16 * KiB, segmentSize }))
  )
  t.strictSame(digests, [
    'b7fb9d89a4d9f64014fa024606fa46387a0cb1b02f6e7d7984019e85ed2ba9b6',
    '6bae631c81ccaf693976da3a01179893b46894ecd7dee045d3a49a96887e3009',
    '2ee522a850bbf1024e1823eda58122e7653b5080d711a803a300dce8aa7e4757'
  ])
  const dmers = listDmers(phrases)
  const listed = trainDictionary(phrases, { size: 16 * KiB, segmentSize: 512, dmers })
  t.equal(sha256(listed), digests[0], 'with dmers listed before')
  t.strictSame(dmers, listDmers(phrases), 'left as they were')
  t.end()
})

await t.test('what is in many samples is in the dictionary, and what is in one is not', (t) => {
  const common = randomBytes(256, 1)
  const pieces = Array.from({ length: 100 }, (_, i) =>
    Buffer.concat([randomBytes(1000 + i, 100 + i), common, randomBytes(900 - i, 300 + i)])
  )
  const dictionary = Buffer.from(trainDictionary(samplesOf(pieces), { size: 4 * KiB, segmentSize: 512 }))
  // Its first and last few bytes may be of no dmer that is looked at.
  t.equal(dictionary.subarray(-512).includes(common.subarray(32, -32)), true, 'at the end')
  t.end()
})

await t.test('a dictionary makes small chunks of such data smaller', (t) => {
  const dictionary = trainDictionary(phrases, { size: 32 * KiB, segmentSize: 512 })
  t.equal(dictionary.length, 32 * KiB)
  const unseen = cutEvery(phraseBytes(64 * KiB, 2), 4 * KiB)
  const total = (encode: (raw: Uint8Array) => Uint8Array | undefined): number =>
    unseen.reduce((sum, chunk) => sum + (encode(chunk) ?? chunk).length, 0)
  const [plain, smaller] = [
    total(createBlockEncoder('zstd', 3)),
    total(createBlockEncoder('zstd', 3, dictionary))
  ]
  t.ok(smaller < plain / 2, `${smaller} of ${plain}`)
  t.end()
})

await t.test('too little, or nothing that repeats, gives no dictionary', (t) => {
  const options = { size: 16 * KiB, segmentSize: 512 }
  t.equal(trainDictionary(samplesOf([]), options).length, 0)
  t.equal(trainDictionary(samplesOf([randomBytes(500, 1)]), options).length, 0)
  t.equal(
    trainDictionary(samplesOf([repeatBytes(randomBytes(100, 1), 1000)]), options).length,
    0,
    'one sample'
  )
  for (const wrong of [
    { size: 100, segmentSize: 512 },
    { size: 100, segmentSize: 8 },
    { size: Number.NaN, segmentSize: 512 }
  ])
    t.equal(
      caught(() => trainDictionary(phrases, wrong)),
      `UsageError USAGE: segments of ${wrong.segmentSize} bytes do not make a dictionary of ${wrong.size} bytes`
    )
  t.end()
})

await t.test('content that begins like a formatted dictionary loses its first byte', (t) => {
  const magic = Buffer.from([0x37, 0xa4, 0x30, 0xec])
  // Which dmers are looked at is told by their hash: of some of these, it is the first one.
  const found = Array.from({ length: 16 }, (_, seed) => {
    const common = Buffer.concat([magic, randomBytes(600, 1000 + seed)])
    const pieces = Array.from({ length: 80 }, (_, i) =>
      Buffer.concat([randomBytes(1000, 100 + i), common, randomBytes(1000, 300 + i)])
    )
    return Buffer.from(trainDictionary(samplesOf(pieces), { size: 604, segmentSize: 604 }))
  })
  t.ok(found.every((dictionary) => dictionary.readUInt32LE(0) !== magic.readUInt32LE(0)))
  t.ok(
    found.some((dictionary) => dictionary.subarray(0, 3).equals(magic.subarray(1))),
    'one of them would have begun so'
  )
  t.end()
})
