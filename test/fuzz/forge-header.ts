import { crc32 } from 'node:zlib'
import { decodeKeySlot, encodeKeySlot } from '../../lib/format/key-slots.js'
import { formatLimits } from '../../lib/limits.js'
import type { Step } from './forge.js'
import { hostileNumber } from './random.js'

/** Changes of the header, and of names wherever they are. */
export const headerSteps: readonly Step[] = [
  function headerField(model, random) {
    const [at, size] = random.pick([
      [8, 2],
      [10, 2],
      [12, 4],
      [16, 4],
      [20, 4],
      [24, 1],
      [25, 1],
      [26, 1],
      [27, 1],
      [28, 1],
      [29, 1],
      [30, 2],
      [32, 4],
      [36, 4],
      [40, 4],
      [44, 1]
    ] as const)
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(random.chance(60) ? random.below(4) : hostileNumber(random, 512, 2 ** 32 - 1))
    model.headerPatches.push({ at, bytes: bytes.subarray(0, size) })
    return `${bytes.toString('hex', 0, size)} at ${at}`
  },
  function headerBytes(model, random) {
    const at = 44 + random.below(40)
    model.headerPatches.push({ at, bytes: random.bytes(1) })
    return `at ${at}`
  },
  function names(model, random) {
    const name = random.pick([
      '../evil',
      '\u001b[2J',
      'a\nb',
      'a\0b',
      'x'.repeat(64),
      '\u00e9',
      '.',
      '/',
      '-',
      'disk',
      'memory',
      ' ',
      '\ufeffdisk',
      '__proto__',
      '%2e'
    ])
    model.header.streams[random.below(model.header.streams.length)] = name
    return JSON.stringify(name)
  },
  function rootNames(model, random) {
    const name = random.pick(['disk', '', 'a\0b', '\ufffd', 'x'.repeat(255), 'memory'])
    model.rootEdits.push(({ streams }) => {
      const stream = streams[0]
      if (stream !== undefined) stream.name = name
    })
    return JSON.stringify(name)
  },
  function moreStreams(model, random) {
    const count = random.pick([1, 2, 14, 15])
    for (let i = 0; i < count && model.header.streams.length < 17; i++) model.header.streams.push(`s${i}`)
    return `${count} more`
  }
]

const slotSize = formatLimits.keySlotSize

/** Changes of the key slots of an encrypted snapshot. */
export const slotSteps: readonly Step[] = [
  function slotBytes(model, random) {
    if (model.key === undefined) return undefined
    const slot = random.chance(60) ? 0 : random.below(16)
    const at = random.below(random.chance(70) ? 12 : slotSize)
    const put = random.bytes(1 + random.below(3))
    const isFixed = random.chance(70)
    model.slotEdits.push((area) => {
      const bytes = area.subarray(slot * slotSize, (slot + 1) * slotSize)
      put.copy(bytes, at)
      if (isFixed) fixSlot(bytes)
    })
    return `slot ${slot} at ${at}${isFixed ? '' : ', checksum wrong'}`
  },
  function slotCost(model, random) {
    if (model.key === undefined) return undefined
    // What is in bounds takes seconds, so seldom.
    const [logN, r, p] = random.chance(97)
      ? random.pick([
          [9, 1, 1],
          [21, 1, 1],
          [255, 255, 255],
          [10, 0, 1],
          [10, 1, 0],
          [10, 33, 1],
          [10, 1, 17],
          [20, 32, 1],
          [10, 2, 2],
          [0, 8, 1]
        ] as const)
      : random.pick([
          [15, 8, 1],
          [16, 8, 1],
          [10, 8, 16]
        ] as const)
    const slot = random.below(16)
    const before = random.chance(50)
    model.slotEdits.push((area) => {
      const right = decodeKeySlot(area.subarray(0, slotSize), 'the sample')
      if (right?.type !== 'passphrase') return
      if (before && slot > 0) area.copyWithin(slot * slotSize, 0, slotSize)
      area.set(encodeKeySlot({ ...right, logN, r, p }), before ? 0 : slot * slotSize)
    })
    return `slot ${before ? 0 : slot}: ${logN} ${r} ${p}`
  },
  function moveSlot(model, random) {
    if (model.key === undefined) return undefined
    const to = random.below(16)
    model.slotEdits.push((area) => {
      const slot = Buffer.from(area.subarray(0, slotSize))
      area.fill(0, 0, slotSize)
      area.set(slot, to * slotSize)
    })
    return `to ${to}`
  }
]

function fixSlot(slot: Buffer): void {
  slot.writeUInt32LE(crc32(slot.subarray(0, slotSize - 4)), slotSize - 4)
}
