import { Encoder } from '@toondepauw/node-zstd'
import t from 'tap'
import { createBlockDecoder, createBlockEncoder } from '../../lib/compression/codecs.js'
import { isZstdFrameBounded } from '../../lib/compression/zstd-frame.js'
import { formatLimits } from '../../lib/limits.js'

const isBounded = (frame: Uint8Array, raw: Uint8Array): boolean =>
  isZstdFrameBounded(frame, raw.length, formatLimits.zstdWindowSizeMax)

/** Segments of words over one of many alphabets, so that statistics change every few KiB. */
function changingText(size: number, segmentSize: number): Buffer {
  let state = 1
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  const alphabetCount = 15
  const words = Array.from({ length: alphabetCount }, (_, alphabet) =>
    Array.from({ length: 40 }, () =>
      Buffer.from(Array.from({ length: 3 + (alphabet % 4) + random(3) }, () => alphabet * 16 + random(12)))
    )
  )
  const text = Buffer.alloc(size)
  for (let offset = 0; offset < size;) {
    const word = words[Math.floor(offset / segmentSize) % alphabetCount]?.[random(40)] ?? Buffer.alloc(1)
    word.copy(text, offset)
    offset += word.length
  }
  return text
}

await t.test('a chunk that a high level would cut into too many blocks is still compressed', (t) => {
  const raw = changingText(128 * 1024, 4096)
  t.notOk(isBounded(new Encoder(16).encodeSync(raw), raw), 'the encoder alone cuts too fine')
  const stored = createBlockEncoder('zstd', 16)(raw)
  if (stored === undefined) throw new Error('the text did not shrink')
  t.ok(isBounded(stored, raw))
  t.strictSame(Buffer.from(createBlockDecoder()('zstd', stored, raw.length)), raw)
  t.strictSame(stored, createBlockEncoder('zstd', 12)(raw), 'at level 12')
  t.end()
})
