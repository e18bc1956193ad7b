import { LimitError } from '../errors.js'
import { memoryLimits } from '../limits.js'
import type { ByteSource } from './byte-source.js'

/** Bytes that are decoded for nothing: what bounds the time that hostile bytes can take. */
export interface Effort {
  /** @throws LimitError when there was too much of it */
  spend(size: number): void
  /** Something came of it. */
  earn(size: number): void
}

/** A multiple of the file, and what was got out of it. */
export function createEffort({ name, size }: Pick<ByteSource, 'name' | 'size'>): Effort {
  let left = (size + memoryLimits.runSize) * memoryLimits.scanEffortMax
  return {
    spend(spent) {
      left -= spent
      if (left < 0)
        throw new LimitError(`${name} holds too many frames that decode to nothing new to search all of it`, {
          where: name
        })
    },
    earn(earned) {
      left += earned
    }
  }
}
