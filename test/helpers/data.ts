/**
 * Test data. The same seed gives the same bytes on every machine and Node version; `golden` freezes them.
 */

/** Numbers from a seed: Marsaglia's xorshift32. */
export interface Random {
  /** A whole number from 0 up to, not with, `end`. */
  below(end: number): number
  /** Fills `bytes`. */
  fill(bytes: Uint8Array): void
}

export function createRandom(seed: number): Random {
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
  for (let i = 0; i < 8; i++) next() // neighbouring seeds start out alike
  return {
    below: (end) => next() % end,
    fill(bytes) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = next() >>> 24
    }
  }
}

/** Bytes that no codec shrinks. */
export function randomBytes(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size)
  createRandom(seed).fill(bytes)
  return bytes
}

const words = 'the disk holds some bytes which were read again and then written to another place'.split(' ')

/** Bytes that every codec shrinks. */
export function textBytes(size: number, seed: number): Buffer {
  const random = createRandom(seed)
  const bytes = Buffer.alloc(size)
  for (let offset = 0; offset < size;) {
    const word = words[random.below(words.length)] ?? ''
    offset += bytes.write(`${word}${random.below(8) === 0 ? '\n' : ' '}`, offset, 'latin1')
  }
  return bytes
}

/** Sentences out of a few hundred random ones: what a dictionary is for, because small chunks repeat little in themselves. */
export function phraseBytes(size: number, seed: number): Buffer {
  const phrases = Array.from({ length: 400 }, (_, i) => randomBytes(60, i).toString('base64'))
  const random = createRandom(seed)
  const bytes = Buffer.alloc(size)
  for (let offset = 0; offset < size;)
    offset += bytes.write(
      `${phrases[random.below(phrases.length)] ?? ''} ${random.below(1000)}\n`,
      offset,
      'latin1'
    )
  return bytes
}

export function zeroBytes(size: number): Buffer {
  return Buffer.alloc(size)
}

/** `count` times the same bytes. */
export function repeatBytes(piece: Uint8Array, count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => piece))
}

/**
 * Random, text, zeros and pieces that came before, in turns of a few `grain`s: something of everything
 * that a build tells apart.
 */
export function mixedBytes(size: number, seed: number, grain = 4096): Buffer {
  const random = createRandom(seed)
  const bytes = Buffer.alloc(size)
  for (let offset = 0; offset < size;) {
    const length = Math.min(size - offset, grain * (1 + random.below(4)))
    const kind = random.below(4)
    if (kind === 0) bytes.set(randomBytes(length, random.below(2 ** 31)), offset)
    else if (kind === 1) bytes.set(textBytes(length, random.below(2 ** 31)), offset)
    else if (kind === 2 && offset >= grain) {
      const from = random.below(Math.floor(offset / grain)) * grain
      bytes.copyWithin(offset, from, Math.min(from + length, offset))
    }
    offset += length
  }
  return bytes
}

/** The bytes in pieces of 1 to `sizeMax`, cut at random. */
export function cutRandomly(bytes: Uint8Array, seed: number, sizeMax: number): Uint8Array[] {
  const random = createRandom(seed)
  const pieces: Uint8Array[] = []
  for (let offset = 0; offset < bytes.length;) {
    const size = Math.min(bytes.length - offset, 1 + random.below(sizeMax))
    pieces.push(bytes.subarray(offset, offset + size))
    offset += size
  }
  return pieces
}

/** The bytes in pieces of `size`, the last one maybe smaller. */
export function cutEvery(bytes: Uint8Array, size: number): Uint8Array[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size)
  )
}
