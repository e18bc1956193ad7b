import type { Random } from './random.js'

/** What is done to the bytes of a file, with no checksum made to fit. */
export interface Mutation {
  readonly bytes: Buffer
  readonly told: string
  /** Every byte is at its place or is lost: nothing moved. */
  readonly isInPlace: boolean
  readonly isCut: boolean
}

type Kind = (bytes: Buffer, random: Random) => Mutation

const changed = (bytes: Buffer, told: string, isInPlace: boolean, isCut = false): Mutation => ({
  bytes,
  told,
  isInPlace,
  isCut
})
const range = (bytes: Buffer, random: Random): [number, number] => {
  const start = random.below(bytes.length + 1)
  return [start, Math.min(bytes.length, start + 1 + random.below(random.chance(70) ? 64 : bytes.length + 1))]
}

const kinds: readonly Kind[] = [
  function flip(bytes, random) {
    const at = random.below(bytes.length)
    const flipped = Buffer.from(bytes)
    flipped[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
    return changed(flipped, `bit at ${at}`, true)
  },
  function set(bytes, random) {
    const at = random.below(bytes.length)
    const put = Buffer.from(bytes)
    random.bytes(1 + random.below(4)).copy(put, at)
    return changed(put, `bytes at ${at}`, true)
  },
  function word(bytes, random) {
    const at = random.below(Math.max(1, bytes.length - 8))
    const put = Buffer.from(bytes)
    if (at + 8 <= put.length)
      put.writeBigUInt64LE(random.pick([0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 64n - 1n]), at)
    return changed(put, `word at ${at}`, true)
  },
  function cut(bytes, random) {
    const size = random.below(bytes.length + 1)
    return changed(bytes.subarray(0, size), `cut at ${size}`, true, true)
  },
  function zero(bytes, random) {
    const [start, end] = range(bytes, random)
    return changed(
      Buffer.from(bytes).fill(random.pick([0, 255]), start, end),
      `filled ${start} to ${end}`,
      true
    )
  },
  function insert(bytes, random) {
    const at = random.below(bytes.length + 1)
    const put = random.bytes(1 + random.below(40))
    return changed(
      Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at)]),
      `${put.length} inserted at ${at}`,
      false
    )
  },
  function remove(bytes, random) {
    const [start, end] = range(bytes, random)
    return changed(
      Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]),
      `removed ${start} to ${end}`,
      false
    )
  },
  function double(bytes, random) {
    const [start, end] = range(bytes, random)
    return changed(
      Buffer.concat([bytes.subarray(0, end), bytes.subarray(start)]),
      `doubled ${start} to ${end}`,
      false
    )
  },
  function move(bytes, random) {
    const [start, end] = range(bytes, random)
    const rest = Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)])
    const at = random.below(rest.length + 1)
    const moved = Buffer.concat([rest.subarray(0, at), bytes.subarray(start, end), rest.subarray(at)])
    return changed(moved, `moved ${start} to ${end} to ${at}`, false)
  }
]

/** One change of a file, which is not changed itself. */
export function mutate(bytes: Buffer, random: Random): Mutation {
  return bytes.length === 0 ? changed(bytes, 'nothing', true) : random.pick(kinds)(bytes, random)
}
