/** Which of a sequence of unknown length are taken: evenly spread over it, and never more than so many. */
export interface Spread {
  /** Whether this one is taken, for now; to be asked with 0, 1, 2, … in turn. */
  takes(number: number): boolean
  /** Of those that were taken, the multiples of this count; the others have been dropped again. */
  readonly stride: number
}

/**
 * Takes every one until there are `countMax`, then drops every second of them and goes on taking every second, and
 * so on. The same sequence gives the same choice, and at its end, half of `countMax` at least are left.
 *
 * @param countMax at least 1
 */
export function createSpread(countMax: number): Spread {
  let stride = 1
  return {
    takes(number) {
      while (number / stride >= countMax) stride *= 2
      return number % stride === 0
    },
    get stride() {
      return stride
    }
  }
}
