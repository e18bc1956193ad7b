/** Which of a sequence of unknown length are taken: from all over it, and never more than so many. */
export interface Spread {
  /** Whether this one is taken, for now; to be asked with 0, 1, 2, … in turn. */
  takes(number: number): boolean
  /** Whether one that was taken has not been dropped again since. */
  holds(number: number): boolean
}

/** 2^32 divided by the golden ratio, and odd: its multiples, modulo 2^32, fill the range evenly. */
const step = 0x9e3779b1

/**
 * Each number has a score, and those below a limit are taken; whenever they become too many, the limit is halved. So
 * about half of `countMax` are left at least. They lie nearly evenly, but in no rhythm: disks are full of structures
 * of 2^n bytes, and every 2^n-th chunk would see one side of them only.
 *
 * @param countMax at least 1
 */
export function createSpread(countMax: number): Spread {
  let limit = 2 ** 32
  let taken: number[] = []
  const holds = (number: number): boolean => Math.imul(number, step) >>> 0 < limit
  return {
    takes(number) {
      if (!holds(number)) return false
      taken.push(number)
      while (taken.length > countMax) {
        limit /= 2
        taken = taken.filter(holds)
      }
      return holds(number)
    },
    holds
  }
}
