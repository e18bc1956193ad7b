import { memoryLimits } from '../limits.js'

/** Batches that decide together: as many as can be in work at one time, however many threads there are. */
export const groupSize = memoryLimits.batchesInWork(memoryLimits.workerCountMax)

/** One batch in so many tries its first chunk both ways. */
export const batchesPerTrial = 8

/** How one batch is to be compressed. */
export interface BatchPlan {
  /** Its chunks are compressed with the dictionary. */
  readonly usesDictionary: boolean
  /** Its first chunk is compressed with and without; `tell` takes the bytes that the dictionary saved, or cost. */
  readonly isTrial: boolean
  readonly tell: (savedSize: number) => void
}

/**
 * Whether batches are compressed with the dictionary, while what a stream brings changes. What one group of
 * batches tried decides for the group after the next: by then all of it is known, whichever threads did the
 * work. So it depends on the batches alone, and data that the dictionary does not suit does without.
 *
 * @returns to be called once for each batch, in order
 */
export function createDictionaryUse(): () => BatchPlan {
  /** Of the group at hand and the two before it. */
  const saved = [1, 1, 1]
  let number = 0
  return () => {
    const group = Math.floor(number / groupSize)
    const usesDictionary = (saved[(group + 1) % 3] ?? 0) > 0
    if (number % groupSize === 0 && group > 0) saved[group % 3] = 0
    const isTrial = number % batchesPerTrial === 0
    number += 1
    return {
      usesDictionary,
      isTrial,
      tell(savedSize) {
        saved[group % 3] = (saved[group % 3] ?? 0) + savedSize
      }
    }
  }
}
