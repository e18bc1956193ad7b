/** Choices that are decided by a few numbers: the same on every machine, whatever was chosen before elsewhere. */
export interface Random {
  /** A whole number from 0 up to, not with, `end`. */
  below(end: number): number
  /** True in so many of a hundred. */
  chance(percent: number): boolean
  pick<T>(list: readonly T[]): T
  bytes(size: number): Buffer
}

/** sfc32 (PractRand's small fast counter), started from any words. */
export function randomOf(...words: readonly number[]): Random {
  let [a, b, c, counter] = [0x68657a7a, 0x66757a7a, 0x9e3779b9, 1]
  const next = (): number => {
    const sum = (a + b + counter++) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + sum
    return sum >>> 0
  }
  for (const word of words) {
    a ^= word | 0
    b ^= Math.floor(word / 2 ** 32) | 0
    for (let i = 0; i < 12; i++) next()
  }
  const random: Random = {
    below: (end) => (end <= 2 ** 32 ? next() % end : (next() * 2 ** 21 + (next() >>> 11)) % end),
    chance: (percent) => next() % 100 < percent,
    pick<T>(list: readonly T[]): T {
      if (list.length === 0) throw new RangeError('nothing to pick from')
      return list[next() % list.length] as T
    },
    bytes: (size) => Buffer.from(Array.from({ length: size }, () => next() >>> 24))
  }
  return random
}

const powers = [0, 8, 16, 24, 31, 32, 47, 48, 49, 52, 53].map((power) => 2 ** power)

/** Numbers that a careless reader would allocate, loop, seek or overflow by; or one near the right one. */
export function hostileNumber(random: Random, right: number, max: number = Number.MAX_SAFE_INTEGER): number {
  const near = [
    right + 1,
    right - 1,
    right + 512,
    right - 512,
    right * 2,
    Math.floor(right / 2),
    right + 2 ** 32
  ]
  const far = random.pick(powers) + random.pick([-1, 0, 0, 1])
  const found = random.chance(50) ? random.pick(near) : random.chance(80) ? far : random.below(max)
  return Math.min(max, Math.max(0, found))
}
