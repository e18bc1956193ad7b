import { writeFields } from '../../lib/format/bytes.js'
import { codecNames } from '../../lib/format/frame.js'
import { chunkerNames, headerMagic } from '../../lib/format/header.js'
import { formatLimits } from '../../lib/limits.js'
import type { Model } from './model.js'

/** A header with any names, which the library's own encoder refuses; its checksum is still zero. */
export function encodeAnyHeader(header: Model['header']): Uint8Array {
  const [profile, ...names] = [header.profile, ...header.streams].map((name) => Buffer.from(name))
  if (profile === undefined) throw new RangeError('a header without a profile')
  const size = 50 + profile.length + names.reduce((sum, name) => sum + 1 + name.length, 0)
  const encrypted = header.encrypted ? 1 : 0
  const fields = writeFields(size).bytes(headerMagic).u16(header.major).u16(header.minor).u32(size)
  fields.u32(encrypted).u32(0)
  fields.u8(chunkerNames.indexOf(header.chunker)).u8(codecNames.indexOf(header.codec)).u8(header.level)
  fields.u8(1).u8(encrypted)
  fields.u8(encrypted * formatLimits.keySlotCount).u16(encrypted * formatLimits.keySlotSize)
  fields.u32(header.chunkSizeMin).u32(header.chunkSizeAvg).u32(header.chunkSizeMax)
  fields.u8(profile.length).bytes(profile).u8(names.length)
  for (const name of names) fields.u8(name.length).bytes(name)
  return fields.zeros(4).done()
}
