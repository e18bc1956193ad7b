import { createBlockEncoder } from '../../lib/compression/codecs.js'
import { encodeFrame, encodeHoleFrame } from '../../lib/format/frame.js'
import { isHole, isRepeat, numberOf, pickPart, placeBlocks, type Step } from './forge.js'
import { common, isBlock, type Block, type Hole, type Page, type Part, type Repeat } from './model.js'
import { hostileNumber, type Random } from './random.js'

const hasEntries = (part: Part): part is Block | Hole | Repeat =>
  isBlock(part) || isHole(part) || isRepeat(part)

const skippable = (random: Random, payload: Uint8Array): Part => ({
  ...common(0),
  kind: 'foreign',
  type: 128 + random.below(128),
  payload
})

/** Changes that leave a snapshot as sound as it was, as far as a later writer may make it. */
export const soundSteps: readonly Step[] = [
  function insertSkippable(model, random) {
    // Between the last page and the root lies nothing.
    const end = model.parts.findLastIndex(({ kind }) => kind === 'page')
    if (end === -1) return undefined
    const at = random.below(end + 1)
    model.parts.splice(at, 0, skippable(random, random.bytes(random.below(40))))
    return `at ${at}`
  },
  function hideFrameInSkippable(model, random) {
    const block = pickPart(model, random, isBlock)
    if (block === undefined) return undefined
    const payload = Buffer.concat([Buffer.alloc(8), block.stored])
    const inner = random.chance(50)
      ? encodeFrame(payload, { type: 'block', codec: block.codec, rawSize: block.rawSize })
      : encodeHoleFrame(block.stream, 512)
    model.parts.splice(model.parts.indexOf(block), 0, skippable(random, inner))
    return `before ${numberOf(model, block)}`
  },
  function addPage(model, random) {
    const part = pickPart(model, random, hasEntries)
    const at = part === undefined ? -1 : model.parts.indexOf(part)
    if (part === undefined || model.parts[at + 1]?.kind === 'page') return undefined
    model.parts.splice(at + 1, 0, pageOf(part.stream))
    return `behind ${at}`
  },
  function shareBlock(model, random) {
    const block = pickPart(model, random, (part): part is Block => isBlock(part) && part.rawSize > 1)
    if (block === undefined) return undefined
    const cut = 1 + random.below(block.rawSize - 1)
    block.chunks = [cut, block.rawSize - cut]
    if (random.chance(20)) block.chunks = Array.from({ length: block.rawSize }, () => 1)
    return `${numberOf(model, block)} at ${cut}`
  },
  function resizeHole(model, random) {
    const hole = pickPart(model, random, isHole)
    if (hole === undefined) return undefined
    hole.size = Math.max(1, random.chance(50) ? 1 + random.below(100_000) : hostileNumber(random, hole.size))
    placeBlocks(model)
    return `${numberOf(model, hole)} has ${hole.size}`
  },
  function recompress(model, random) {
    const block = pickPart(model, random, (part): part is Block => isBlock(part) && !part.usesDictionary)
    if (block === undefined) return undefined
    const codec = random.pick(['raw', 'lz4', 'zstd'] as const)
    const stored = createBlockEncoder(codec, codec === 'zstd' ? 1 : 0)(block.plain)
    block.codec = stored === undefined ? 'raw' : codec
    block.stored = stored === undefined ? block.plain : Buffer.from(stored)
    return `${numberOf(model, block)} to ${block.codec}`
  },
  function splitRepeat(model, random) {
    const repeat = pickPart(model, random, isRepeat)
    if (repeat === undefined) return undefined
    const at = 1 + random.below(repeat.of.length)
    model.parts.splice(model.parts.indexOf(repeat) + 1, 0, {
      ...common(repeat.stream),
      kind: 'repeat',
      of: repeat.of.slice(at)
    })
    repeat.of = repeat.of.slice(0, at)
    return `${numberOf(model, repeat)} at ${at}`
  },
  function addRepeat(model, random) {
    const block = pickPart(model, random, isBlock)
    const page = model.parts.findLastIndex((part) => part.kind === 'page')
    const last = model.parts[page]
    if (block === undefined || last === undefined) return undefined
    const count = random.chance(95) ? 1 + random.below(20) : 1 + random.below(1030)
    model.parts.splice(page, 0, {
      ...common(last.stream),
      kind: 'repeat',
      of: Array.from({ length: count }, () => block)
    })
    return `${count} times ${numberOf(model, block)}`
  },
  function growBlock(model, random) {
    const block = pickPart(model, random, isBlock)
    if (block === undefined || block.usesDictionary) return undefined
    const size = random.chance(90) ? 1 + random.below(20_000) : 4 * 2 ** 20 - random.below(2)
    block.plain = Buffer.alloc(size, `${random.below(10)} grown `)
    block.codec = 'zstd'
    block.stored = Buffer.from(createBlockEncoder('zstd', 1)(block.plain) ?? block.plain)
    if (block.stored.length === size) block.codec = 'raw'
    block.rawSize = size
    block.chunks = [size]
    placeBlocks(model)
    return `${numberOf(model, block)} to ${size}`
  }
]

function pageOf(stream: number): Page {
  return { ...common(stream), kind: 'page', codec: 'raw', entryEdits: [], plainPatches: [], refEdits: [] }
}
