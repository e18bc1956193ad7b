/** A hole or repeat that may not know yet where in the stream it belongs. */
export interface Placeable {
  /** Bytes of the stream. */
  readonly size: number
  /** Puts it there. */
  readonly restore: (offset: number) => Promise<void>
}

/** Finds the place of frames that do not tell it, from their neighbours. */
export interface Placer {
  /** Where the next frame's bytes belong, or `undefined` behind damage. */
  readonly cursor: number | undefined
  /**
   * Puts an item at the cursor, or keeps it until the place behind it is known.
   *
   * @returns false when it would end after `endMax`: it is not put anywhere, and the place is lost
   */
  place(item: Placeable): Promise<boolean>
  /** The place is known: what was kept ends here. */
  settle(offset: number): Promise<void>
  /** The place is known, and what was kept is dealt with otherwise. */
  moveTo(offset: number): void
  /** The place is lost, and what was kept with it. */
  lose(): void
}

/**
 * @param keptMax items kept while the place is unknown; one more and they are given up
 * @param endMax no stream is longer
 */
export function createPlacer(keptMax: number, endMax: number): Placer {
  let cursor: number | undefined = 0
  let kept: Placeable[] = []
  const lose = (): void => {
    cursor = undefined
    kept = []
  }
  return {
    get cursor() {
      return cursor
    },
    async place(item) {
      if (cursor === undefined) {
        if (kept.push(item) > keptMax) lose()
        return true
      }
      if (item.size > endMax - cursor) {
        lose()
        return false
      }
      const offset = cursor
      cursor += item.size
      await item.restore(offset)
      return true
    },
    async settle(end) {
      // Backwards, so that no sum is larger than `end`, which is exact.
      const placed: { readonly item: Placeable; readonly offset: number }[] = []
      let offset = end
      for (const item of kept.reverse()) {
        if (item.size > offset) break
        offset -= item.size
        placed.push({ item, offset })
      }
      kept = []
      cursor = end
      for (const one of placed.reverse()) await one.item.restore(one.offset)
    },
    moveTo(offset) {
      kept = []
      cursor = offset
    },
    lose
  }
}
