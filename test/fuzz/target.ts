import type { Report } from './verdict.js'

/** Which steps of an input are done: all, or fewer when it is made smaller. */
export type Keep = (step: number) => boolean

/** One input, made of nothing but the seed and its number. */
export interface Input {
  readonly bytes: Uint8Array
  /** What was done to make it. */
  readonly story: readonly string[]
  /** Gives it to the code under test; what it returns is done when that code's memory and time were measured. */
  check(report: Report): Promise<(() => void) | undefined>
}

/** A part of the code that gets hostile input. */
export interface Target {
  readonly name: string
  /** How many of a thousand inputs are for it. */
  readonly share: number
  /** @param words decide everything */
  make(words: readonly number[], keep: Keep): Promise<Input>
  close?(): Promise<void>
}
