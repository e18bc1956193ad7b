/**
 * The gear table of the rolling hash: 256 random 32-bit numbers, one for each byte value. They come from
 * SplitMix32 seeded with the ASCII of "hexz", so that anyone can make them again; a test freezes them.
 * Source: Xia et al., "Ddelta: a deduplication-inspired fast delta compression approach" (2014), 3.2.
 */
export const gear: Int32Array = makeGear(0x6865787a)

function makeGear(seed: number): Int32Array {
  let state = seed
  return Int32Array.from({ length: 256 }, () => {
    state = (state + 0x9e3779b9) | 0
    let z = state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return z ^ (z >>> 15)
  })
}
