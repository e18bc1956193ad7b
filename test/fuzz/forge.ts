import { rawSizeOf, type Hole, type Model, type Part, type Repeat } from './model.js'
import { randomOf, type Random } from './random.js'

/** One thing that is done to a model; told in words, or `undefined` where there is nothing to do it to. */
export type Step = (model: Model, random: Random) => string | undefined

export const isRepeat = (part: Part): part is Repeat => part.kind === 'repeat'
export const isHole = (part: Part): part is Hole => part.kind === 'hole'

export function pickPart<P extends Part>(
  model: Model,
  random: Random,
  is: (part: Part) => part is P
): P | undefined {
  const found = model.parts.filter(is)
  return found.length === 0 ? undefined : random.pick(found)
}
export const anyPart = (part: Part): part is Part => part.kind.length > 0
export const numberOf = (model: Model, part: Part): string => `${part.kind} ${model.parts.indexOf(part)}`

/** Makes each block start where the one before it ends, as a writer does. */
export function placeBlocks(model: Model): void {
  const ends = new Map<number, number>()
  for (const part of model.parts) {
    const start = ends.get(part.stream) ?? 0
    if (part.kind === 'block') part.start = Math.min(start, 2 ** 53 - 1)
    ends.set(part.stream, start + rawSizeOf(part))
  }
}

/** A generator of its own for what is done later, when a model is put together, maybe twice. */
export const later = (random: Random): (() => Random) => {
  const seed = random.below(2 ** 32)
  return () => randomOf(seed)
}
export const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}
export const words = [
  0n,
  1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 48n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n
]
