import { later, pickPart, u64, words, type Step } from './forge.js'
import { isPage, type MutableEntry } from './model.js'
import { hostileNumber, type Random } from './random.js'
import { forgeZstd } from './zstd-frames.js'

function changeEntry(entry: MutableEntry, random: Random): void {
  const field = random.below(6)
  if (entry.kind === 'hole' || field === 0) {
    entry.rawSize = Math.max(
      random.chance(10) ? 0 : 1,
      hostileNumber(random, entry.rawSize, entry.kind === 'hole' ? undefined : 2 ** 32 - 1)
    )
    return
  }
  if (field === 1) entry.digest = random.bytes(32)
  if (field === 2) entry.blockOffset = hostileNumber(random, entry.blockOffset, 2 ** 48 - 1)
  if (field === 3) entry.storedSize = hostileNumber(random, entry.storedSize, 2 ** 32 - 1)
  if (field === 4) entry.innerOffset = hostileNumber(random, entry.innerOffset, 2 ** 32 - 1)
  if (field === 5) entry.kind = entry.kind === 'block' ? 'repeat' : 'block'
}

/** Changes of what pages say, and the root of pages, of frames that are as they were. */
export const pageSteps: readonly Step[] = [
  function entryField(model, random) {
    const page = pickPart(model, random, isPage)
    const make = later(random)
    page?.entryEdits.push((entries) => {
      const own = make()
      if (entries.length > 0) changeEntry(own.pick(entries), own)
    })
    return page && `page ${model.parts.indexOf(page)}`
  },
  function entryOrder(model, random) {
    const page = pickPart(model, random, isPage)
    const make = later(random)
    const what = random.pick(['drop', 'double', 'swap', 'copy'] as const)
    page?.entryEdits.push((entries) => {
      const own = make()
      const [one, other] = [own.below(entries.length + 1), own.below(entries.length + 1)]
      const [first, second] = [entries[one], entries[other]]
      if (first === undefined || second === undefined) return
      if (what === 'drop') entries.splice(one, 1)
      else if (what === 'double') entries.splice(other, 0, { ...first })
      else {
        entries[one] = { ...second }
        if (what === 'swap') entries[other] = { ...first }
      }
    })
    return page && what
  },
  function partOfBlock(model, random) {
    const page = pickPart(model, random, isPage)
    const make = later(random)
    page?.entryEdits.push((entries) => {
      const own = make()
      const entry = entries.length === 0 ? undefined : own.pick(entries)
      if (entry === undefined || entry.kind === 'hole' || entry.rawSize < 2) return
      // A piece of the block, with the digest that this piece would have were it known: see `wrongDigest`.
      const cut = 1 + own.below(entry.rawSize - 1)
      if (own.chance(50)) entry.innerOffset = cut
      entry.rawSize = own.chance(50) ? entry.rawSize - cut : cut
    })
    return page && `page ${model.parts.indexOf(page)}`
  },
  function pagePlace(model, random) {
    const page = pickPart(model, random, isPage)
    const make = later(random)
    page?.entryEdits.push((_entries, place) => {
      const own = make()
      if (own.chance(30)) place.stream = own.below(256)
      else place.streamOffset = hostileNumber(own, place.streamOffset)
    })
    return page && 'a page says another place'
  },
  function pageBytes(model, random) {
    const page = pickPart(model, random, isPage)
    const at = random.below(random.chance(50) ? 20 : 400)
    page?.plainPatches.push({
      at,
      bytes: random.chance(50) ? random.bytes(1 + random.below(8)) : u64(random.pick(words))
    })
    return page && `page ${model.parts.indexOf(page)} at ${at}`
  },
  function pageCodec(model, random) {
    const page = pickPart(model, random, isPage)
    if (page === undefined) return undefined
    const forged = forgeZstd(random, Buffer.alloc(random.pick([100, 1000, 253_952]), 'p'))
    page.codec = 'zstd'
    page.stored = forged.bytes
    return forged.what
  },
  function pageRef(model, random) {
    const page = pickPart(model, random, isPage)
    const make = later(random)
    page?.refEdits.push((ref) => {
      const own = make()
      const field = own.below(6)
      if (field === 0) ref.stream = own.below(256)
      if (field === 1) ref.streamOffset = hostileNumber(own, ref.streamOffset)
      if (field === 2) ref.entryCount = hostileNumber(own, ref.entryCount, 2 ** 32 - 1)
      if (field === 3) ref.handle = { ...ref.handle, offset: hostileNumber(own, ref.handle.offset) }
      if (field === 4) ref.handle = { ...ref.handle, size: hostileNumber(own, ref.handle.size, 2 ** 32 - 1) }
      if (field === 5) ref.digest = own.bytes(32)
    })
    return page && 'the root says something else of it'
  }
]
