import { anyPart, later, pickPart, u64, words, type Step } from './forge.js'
import type { MutableRoot } from './model.js'
import { hostileNumber, type Random } from './random.js'
import { forgeZstd } from './zstd-frames.js'

/** Changes of root and footer. */
export const rootSteps: readonly Step[] = [
  function rootPages(model, random) {
    const make = later(random)
    const what = random.pick(['drop', 'double', 'swap', 'none'] as const)
    model.rootEdits.push(({ pages }) => {
      const own = make()
      const one = own.below(pages.length + 1)
      const page = pages[one]
      if (what === 'none') pages.length = 0
      else if (page === undefined) return
      else if (what === 'drop') pages.splice(one, 1)
      else if (what === 'double') pages.splice(one, 0, { ...page })
      else pages.reverse()
    })
    return what
  },
  function rootStream(model, random) {
    const make = later(random)
    model.rootEdits.push((root) => changeSummary(root, make()))
    return 'a stream of the root'
  },
  function rootDictionary(model, random) {
    const make = later(random)
    model.rootEdits.push((root) => {
      const own = make()
      const part = pickPart(model, own, anyPart)
      if (root.dictionary === undefined || own.chance(20)) {
        const handle = part?.at ?? { offset: 0, size: 0 }
        root.dictionary =
          own.chance(30) && root.dictionary
            ? undefined
            : { handle, rawSize: own.below(2000), digest: own.bytes(32), sampleCount: 1, gain: -1 }
        return
      }
      const { dictionary } = root
      const field = own.below(5)
      if (field === 0)
        dictionary.handle = { ...dictionary.handle, offset: hostileNumber(own, dictionary.handle.offset) }
      if (field === 1)
        dictionary.handle = {
          ...dictionary.handle,
          size: hostileNumber(own, dictionary.handle.size, 2 ** 32 - 1)
        }
      if (field === 2) dictionary.rawSize = hostileNumber(own, dictionary.rawSize, 2 ** 32 - 1)
      if (field === 3) dictionary.digest = own.bytes(32)
      if (field === 4)
        Object.assign(dictionary, {
          sampleCount: own.below(2 ** 32),
          gain: own.below(2 ** 31) * own.pick([-1, 1])
        })
    })
    return 'of the root'
  },
  function rootBytes(model, random) {
    const at = random.below(random.chance(50) ? 80 : 500)
    model.rootPatches.push({
      at,
      bytes: random.chance(50) ? random.bytes(1 + random.below(8)) : u64(random.pick(words))
    })
    return `at ${at}`
  },
  function rootFrame(model, random) {
    const at = random.pick([4, 5, 6, 7, 8, 9, 11, 12, 13, 15])
    model.rootFramePatches.push({ at, bytes: Buffer.from([random.pick([0, 1, 2, 3, 5, 7, 64, 128, 255])]) })
    return `at ${at}`
  },
  function rootCodec(model, random) {
    const forged = forgeZstd(random, Buffer.alloc(random.pick([100, 1000, 262_144]), 'r'))
    model.rootCodec = 'zstd'
    model.rootStored = forged.bytes
    return forged.what
  },
  function extension(model, random) {
    model.extension = random.bytes(random.below(100))
    return `${model.extension.length} bytes`
  },
  function footerField(model, random) {
    const at = random.pick([0, 8, 12, 16, 24, 56])
    const bytes = random.chance(50) ? u64(random.pick(words)) : random.bytes(4)
    model.footerPatches.push({ at, bytes: bytes.subarray(0, at === 24 ? 8 : 4 + random.below(5)) })
    return `at ${at}`
  },
  function footerTail(model, random) {
    const at = 64 + random.below(32)
    model.footerTailPatches.push({ at, bytes: random.bytes(1) })
    return `at ${at}`
  }
]

function changeSummary({ streams }: MutableRoot, random: Random): void {
  const stream = random.pick(streams)
  const name = random.pick([
    'size',
    'blockCount',
    'repeatCount',
    'holeCount',
    'blockRawSize',
    'blockStoredSize',
    'repeatSize',
    'holeSize'
  ] as const)
  const before = stream[name]
  stream[name] = hostileNumber(random, before)
  // Half of them add up all the same.
  if (random.chance(50) && (name === 'size' || name === 'holeSize')) {
    const sum = stream.size - stream.blockRawSize - stream.repeatSize
    if (name === 'size' && sum >= 0) stream.holeSize = sum
    if (name === 'holeSize')
      stream.size = Math.min(
        Number.MAX_SAFE_INTEGER,
        stream.blockRawSize + stream.repeatSize + stream.holeSize
      )
  }
}
