import { anyPart, isHole, isRepeat, numberOf, pickPart, placeBlocks, type Step } from './forge.js'
import { encodeFrame } from '../../lib/format/frame.js'
import { common, isBlock, rawSizeOf, type Block, type Part } from './model.js'
import { hostileNumber } from './random.js'
import { forgeLz4, forgeZstd } from './zstd-frames.js'

/** Changes of frames, and of their order, that the index of the snapshot goes along with. */
export const frameSteps: readonly Step[] = [
  function dropPart(model, random) {
    const part = pickPart(model, random, anyPart)
    if (part === undefined) return undefined
    const name = numberOf(model, part)
    model.parts.splice(model.parts.indexOf(part), 1)
    if (random.chance(50)) placeBlocks(model)
    return name
  },
  function doublePart(model, random) {
    const part = pickPart(model, random, anyPart)
    if (part === undefined) return undefined
    const at = random.below(model.parts.length + 1)
    model.parts.splice(at, 0, { ...part })
    if (random.chance(50)) placeBlocks(model)
    return `${numberOf(model, part)} at ${at}`
  },
  function movePart(model, random) {
    const part = pickPart(model, random, anyPart)
    if (part === undefined) return undefined
    const name = numberOf(model, part)
    model.parts.splice(model.parts.indexOf(part), 1)
    const at = random.below(model.parts.length + 1)
    model.parts.splice(at, 0, part)
    if (random.chance(50)) placeBlocks(model)
    return `${name} to ${at}`
  },
  function misplaceBlock(model, random) {
    const block = pickPart(model, random, isBlock)
    if (block === undefined) return undefined
    block.start = hostileNumber(random, block.start)
    return `${numberOf(model, block)} at ${block.start}`
  },
  function changeStream(model, random) {
    const part = pickPart(model, random, anyPart)
    if (part === undefined) return undefined
    part.stream = random.pick([0, 1, 2, 15, 16, 255])
    return `${numberOf(model, part)} in ${part.stream}`
  },
  function patchFrameHeader(model, random) {
    const part = pickPart(model, random, anyPart)
    if (part === undefined) return undefined
    const [at, size] = random.pick([
      [4, 1],
      [5, 1],
      [6, 1],
      [7, 1],
      [8, 4],
      [12, 4]
    ] as const)
    const bytes = Buffer.alloc(size)
    if (size === 1) bytes[0] = random.pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 127, 128, 255])
    else bytes.writeUInt32LE(hostileNumber(random, rawSizeOf(part), 2 ** 32 - 1))
    part.patches.push({ at, bytes })
    return `${numberOf(model, part)}: ${bytes.toString('hex')} at ${at}`
  },
  function patchPayload(model, random) {
    const part = pickPart(model, random, anyPart)
    if (part === undefined) return undefined
    const at = 16 + random.below(random.chance(50) ? 8 : 300)
    part.patches.push({ at, bytes: random.bytes(1 + random.below(8)) })
    return `${numberOf(model, part)} at ${at}`
  },
  function emptyHole(model, random) {
    const hole = pickPart(model, random, isHole)
    if (hole === undefined) return undefined
    hole.size = 0
    return numberOf(model, hole)
  },
  function emptyRepeat(model, random) {
    const at = random.below(model.parts.length + 1)
    model.parts.splice(at, 0, { ...common(model.parts[at]?.stream ?? 0), kind: 'repeat', of: [] })
    return `at ${at}`
  },
  function repeatOfWhat(model, random) {
    const repeat = pickPart(model, random, isRepeat)
    const other = pickPart(model, random, isBlock)
    if (repeat === undefined || other === undefined || repeat.of.length === 0) return undefined
    const index = random.below(repeat.of.length)
    const bytes = Buffer.alloc(6)
    bytes.writeUIntLE(hostileNumber(random, 60 + random.below(3000), 2 ** 48 - 1), 0, 6)
    if (random.chance(60)) repeat.of = repeat.of.with(index, other)
    else repeat.patches.push({ at: 16 + 6 * index, bytes })
    return numberOf(model, repeat)
  },
  function repeatOfPart(model, random) {
    const repeat = pickPart(model, random, isRepeat)
    const least = Math.min(...(repeat?.of.map(({ rawSize }) => rawSize) ?? []))
    if (repeat === undefined || repeat.of.length === 0 || least < 2) return undefined
    const inner = random.pick([0, 1, Math.floor(least / 2)])
    repeat.piece = { inner, size: least - Math.max(1, inner) }
    placeBlocks(model)
    return `${numberOf(model, repeat)} from ${inner}`
  },
  function repeatInSkippable(model, random) {
    const repeat = pickPart(model, random, isRepeat)
    const block = repeat?.of[0]
    if (repeat === undefined || block === undefined || model.key !== undefined) return undefined
    const payload = Buffer.concat([Buffer.alloc(8), block.stored])
    const inner = encodeFrame(payload, { type: 'block', codec: block.codec, rawSize: block.rawSize })
    const around: Part = { ...common(0), kind: 'foreign', type: 200, payload: inner }
    const hidden: Block = {
      ...block,
      get at() {
        return around.at && { offset: around.at.offset + 16, size: around.at.size - 16 }
      }
    }
    model.parts.splice(model.parts.indexOf(repeat), 0, around)
    repeat.of = repeat.of.map((one) => (one === block ? hidden : one))
    return numberOf(model, repeat)
  },
  function wrongDigest(model, random) {
    const block = pickPart(model, random, isBlock)
    if (block === undefined) return undefined
    block.plain = random.bytes(block.plain.length)
    return numberOf(model, block)
  },
  function wrongChunks(model, random) {
    const block = pickPart(model, random, isBlock)
    if (block === undefined) return undefined
    const size = () => Math.max(1, hostileNumber(random, block.rawSize, 2 ** 22))
    block.chunks = random.pick([
      [],
      [size()],
      [size(), size()],
      [block.rawSize, 1],
      [block.rawSize, block.rawSize]
    ])
    return `${numberOf(model, block)}: ${block.chunks.join(' ')}`
  },
  function forgeCodec(model, random) {
    const block = pickPart(model, random, isBlock)
    if (block === undefined) return undefined
    const isZstd = random.chance(80)
    // Large ones now and then, for what they could make a reader allocate.
    const plain = random.chance(97)
      ? block.plain
      : Buffer.alloc(random.pick([2 ** 17, 2 ** 20, 2 ** 22]), 'large ')
    const forged = isZstd ? forgeZstd(random, plain) : forgeLz4(random, plain)
    block.codec = isZstd ? 'zstd' : 'lz4'
    block.stored = forged.bytes
    block.rawSize = plain.length
    block.plain = forged.plain ?? plain
    block.chunks = [plain.length]
    placeBlocks(model)
    return `${numberOf(model, block)}, ${isZstd ? 'Zstd' : 'LZ4'}: ${forged.what}`
  },
  function foreignFrame(model, random) {
    const at = random.below(model.parts.length + 1)
    const type = random.pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 127])
    model.parts.splice(at, 0, {
      ...common(0),
      kind: 'foreign',
      type,
      payload: random.bytes(random.below(60))
    })
    return `type ${type} at ${at}`
  },
  function dictionaryFlag(model, random) {
    const block = pickPart(model, random, isBlock)
    if (block === undefined) return undefined
    block.usesDictionary = !block.usesDictionary
    return numberOf(model, block)
  },
  function otherDictionary(model, random) {
    const plain = random.chance(50)
      ? random.bytes(random.below(300))
      : Buffer.concat([Buffer.from('37a430ec', 'hex'), random.bytes(200)])
    const found = model.parts.find((part) => part.kind === 'dictionary')
    if (found === undefined || random.chance(30)) {
      model.parts.splice(random.below(model.parts.length), 0, {
        ...common(0),
        kind: 'dictionary',
        codec: 'raw',
        plain,
        stored: plain
      })
      return 'added'
    }
    const forged = random.chance(50) ? forgeZstd(random, found.plain) : undefined
    found.codec = forged === undefined ? 'raw' : 'zstd'
    found.stored = forged?.bytes ?? plain
    found.plain = forged === undefined ? plain : (forged.plain ?? found.plain)
    return forged?.what ?? 'replaced'
  },
  function patchDictionary(model, random) {
    const found = model.parts.find((part) => part.kind === 'dictionary')
    if (found === undefined) return undefined
    const plain = Buffer.from(found.plain)
    for (let i = 0; i <= random.below(3); i++)
      plain[random.below(Math.min(200, plain.length))] = random.below(256)
    found.codec = 'raw'
    found.plain = found.stored = plain
    return 'its digest fits'
  },
  function sealing(model, random) {
    const part = pickPart(model, random, anyPart)
    if (part === undefined || model.key === undefined) return undefined
    part.sealing = random.pick(['none', 'twice'])
    return `${numberOf(model, part)} ${part.sealing}`
  }
]
