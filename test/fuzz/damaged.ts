import { HexzError } from '../../lib/index.js'
import { copyModel, type Sample } from './corpus.js'
import { encode } from './encode.js'
import { frameSteps } from './forge-frames.js'
import { headerSteps, slotSteps } from './forge-header.js'
import { pageSteps } from './forge-pages.js'
import { rootSteps } from './forge-root.js'
import { soundSteps } from './forge-sound.js'
import type { Step } from './forge.js'
import { mutate } from './mutate.js'
import { randomOf } from './random.js'
import type { Keep } from './target.js'

/** Groups of steps, each as often as its number says. */
const groups: readonly (readonly [number, readonly Step[]])[] = [
  [24, soundSteps],
  [34, frameSteps],
  [18, pageSteps],
  [12, rootSteps],
  [8, headerSteps],
  [4, slotSteps]
]
const groupTable = groups.flatMap(([count, steps]) => Array.from({ length: count }, () => steps))

/** A sample to which something was done. */
export interface Damaged {
  readonly sample: Sample
  readonly file: Buffer
  readonly story: readonly string[]
  /** Nothing but damage in place. */
  readonly isDamaged: boolean
  readonly isCut: boolean
}

/** Forges a sample, so that all checksums and digests fit, or damages its bytes, or both. */
export async function damage(
  samples: readonly Sample[],
  words: readonly number[],
  keep: Keep
): Promise<Damaged> {
  const random = randomOf(...words, 0)
  const sample = random.pick(samples)
  const story: string[] = []
  let file = sample.file
  const isForged = random.chance(75)
  let number = 0
  if (isForged) {
    const model = copyModel(sample.model)
    for (let left = 1 + random.below(random.chance(70) ? 2 : 5); left > 0; left--) {
      const own = randomOf(...words, 2, number)
      const step = own.pick(own.pick(groupTable))
      if (!keep(number++)) continue
      const done = step(model, own)
      if (done !== undefined) story.push(`${step.name} ${done}`)
    }
    try {
      file = await encode(model)
    } catch (error) {
      // The encoders of the library refuse some things; those that matter are patched in behind them.
      if (!(error instanceof HexzError)) throw error
      story.push(`(not made: ${error.message})`)
    }
  }
  let [isDamaged, isCut] = [!isForged, !isForged]
  for (
    let left = isForged ? (random.chance(10) ? 1 : 0) : 1 + random.below(random.chance(70) ? 1 : 4);
    left > 0;
    left--
  ) {
    const own = randomOf(...words, 3, number)
    if (!keep(number++)) continue
    const done = mutate(file, own)
    file = done.bytes
    story.push(done.told)
    isDamaged &&= done.isInPlace
    isCut &&= done.isCut
  }
  return { sample, file, story, isDamaged, isCut }
}
