/**
 * Checks a dictionary in Zstandard's own format (RFC 8878, section 5), as `zstd --train` makes it: magic, id,
 * a Huffman table for literals, three FSE tables, three offsets, content. The bindings end the whole process
 * over one that is damaged, so nothing may reach them that they would not take; this is at least as strict.
 */

/** The first four bytes, little-endian. Anything else is raw content, and needs no check. */
export const formattedMagic = 0xec30a437

/** Largest symbol and largest accuracy of the FSE tables, in their order: offsets, match lengths, literal lengths. */
const tables = [
  { symbolMax: 31, logMax: 8 },
  { symbolMax: 52, logMax: 9 },
  { symbolMax: 35, logMax: 9 }
] as const
const prefixSize = 8
const offsetsSize = 12
const huffmanLogMax = 11
const weightLogMax = 6

/** Thrown and caught in here only. */
class Broken extends Error {}

export function isFormatted(dictionary: Uint8Array): boolean {
  return dictionary.length >= 4 && viewOf(dictionary).getUint32(0, true) === formattedMagic
}

/** Whether a dictionary that begins with the magic can be given to Zstd. */
export function isFormattedIntact(dictionary: Uint8Array): boolean {
  try {
    let at = readHuffman(dictionary, prefixSize)
    for (const { symbolMax, logMax } of tables) at = readCounts(dictionary, at, symbolMax, logMax).end
    if (at + offsetsSize > dictionary.length) return false
    const contentSize = dictionary.length - at - offsetsSize
    const view = viewOf(dictionary)
    return [0, 4, 8].every((i) => {
      const offset = view.getUint32(at + i, true)
      return offset > 0 && offset <= contentSize
    })
  } catch (error) {
    if (error instanceof Broken) return false
    throw error
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const highestBit = (n: number): number => 31 - Math.clz32(n)

interface Counts {
  readonly log: number
  /** Share of each symbol in 2^log; −1 is less than one. */
  readonly counts: readonly number[]
  /** Offset behind it. */
  readonly end: number
}

/** Normalized counts of an FSE table (RFC 8878, 4.1.1). */
function readCounts(bytes: Uint8Array, start: number, symbolMax: number, logMax: number): Counts {
  let position = start * 8
  const peek = (count: number): number => {
    if (position + count > bytes.length * 8) throw new Broken()
    let value = 0
    for (let i = 0; i < count; i++) {
      const bit = ((bytes[(position + i) >> 3] ?? 0) >> ((position + i) & 7)) & 1
      value |= bit << i
    }
    return value
  }
  const log = peek(4) + 5
  position += 4
  if (log > logMax) throw new Broken()
  const counts: number[] = []
  let left = 1 << log
  while (left > 0) {
    const width = highestBit(left + 1) + 1
    const value = peek(width)
    const lowMask = (1 << (width - 1)) - 1
    const threshold = (1 << width) - 1 - (left + 1)
    const isShort = (value & lowMask) < threshold
    position += isShort ? width - 1 : width
    const count = (isShort ? value & lowMask : value > lowMask ? value - threshold : value) - 1
    left -= Math.abs(count)
    counts.push(count)
    for (let more = count === 0 ? 3 : 0; more === 3; position += 2) {
      more = peek(2)
      for (let i = 0; i < more; i++) counts.push(0)
    }
    if (counts.length > symbolMax + 1) throw new Broken()
  }
  if (left !== 0) throw new Broken()
  return { log, counts, end: Math.ceil(position / 8) }
}

/** Offset behind a Huffman table (RFC 8878, 4.2.1) whose weights give a whole tree. */
function readHuffman(bytes: Uint8Array, start: number): number {
  const header = bytes[start] ?? 0
  const isPlain = header >= 128
  const end = start + 1 + (isPlain ? (header - 126) >> 1 : header)
  if (end > bytes.length) throw new Broken()
  const weights = isPlain
    ? Array.from({ length: header - 127 }, (_, i) => {
        const pair = bytes[start + 1 + (i >> 1)] ?? 0
        return i % 2 === 0 ? pair >> 4 : pair & 15
      })
    : readWeights(bytes.subarray(start + 1, end))
  if (weights.length > 255 || weights.some((weight) => weight > huffmanLogMax)) throw new Broken()
  const total = weights.reduce((sum, weight) => sum + ((1 << weight) >> 1), 0)
  if (total === 0) throw new Broken()
  const log = highestBit(total) + 1
  const rest = (1 << log) - total
  // The last symbol's weight is what is missing to the next power of two.
  if (log > huffmanLogMax || (rest & (rest - 1)) !== 0) throw new Broken()
  const ones = [...weights, highestBit(rest) + 1].filter((weight) => weight === 1).length
  if (ones < 2 || ones % 2 !== 0) throw new Broken()
  return end
}

/** Weights under FSE, with two states that take turns, read from the end (RFC 8878, 4.2.1.2). */
function readWeights(bytes: Uint8Array): number[] {
  const { log, counts, end } = readCounts(bytes, 0, 255, weightLogMax)
  const table = spreadSymbols(counts, log)
  const last = bytes.at(-1) ?? 0
  if (end >= bytes.length || last === 0) throw new Broken()
  let position = (bytes.length - 1) * 8 + highestBit(last)
  const read = (count: number): number => {
    let value = 0
    for (let i = 0; i < count; i++) {
      position -= 1
      const bit = position < end * 8 ? 0 : ((bytes[position >> 3] ?? 0) >> (position & 7)) & 1
      value = (value << 1) | bit
    }
    return value
  }
  const states: [number, number] = [read(log), read(log)]
  if (position < end * 8) throw new Broken()
  const weights: number[] = []
  for (let turn: 0 | 1 = 0; weights.length < 255; turn = turn === 0 ? 1 : 0) {
    const { symbol, width, base } = table[states[turn]] ?? { symbol: 0, width: 0, base: 0 }
    weights.push(symbol)
    states[turn] = base + read(width)
    if (position >= end * 8) continue
    weights.push(table[states[turn === 0 ? 1 : 0]]?.symbol ?? 0)
    return weights
  }
  throw new Broken()
}

interface Cell {
  readonly symbol: number
  /** Bits to read for the next state, which is added to `base`. */
  readonly width: number
  readonly base: number
}

/** The decoding table of normalized counts. */
function spreadSymbols(counts: readonly number[], log: number): Cell[] {
  const size = 1 << log
  const symbols = new Array<number>(size).fill(0)
  let high = size
  counts.forEach((count, symbol) => {
    if (count === -1) symbols[--high] = symbol
  })
  const step = (size >> 1) + (size >> 3) + 3
  let position = 0
  counts.forEach((count, symbol) => {
    for (let i = 0; i < count; i++) {
      symbols[position] = symbol
      do position = (position + step) & (size - 1)
      while (position >= high)
    }
  })
  const next = counts.map((count) => (count === -1 ? 1 : count))
  return symbols.map((symbol) => {
    const state = next[symbol] ?? 0
    next[symbol] = state + 1
    const width = log - highestBit(state)
    return { symbol, width, base: (state << width) - size }
  })
}
