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
  /** Puts an item at the cursor, or keeps it until the place behind it is known. */
  place(item: Placeable): Promise<void>
  /** The place is known: what was kept ends here. */
  settle(offset: number): Promise<void>
  /** The place is known, and what was kept is dealt with otherwise. */
  moveTo(offset: number): void
  /** The place is lost, and what was kept with it. */
  lose(): void
}

/** @param keptMax items kept while the place is unknown; one more and they are given up */
export function createPlacer(keptMax: number): Placer {
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
        return
      }
      const offset = cursor
      cursor += item.size
      await item.restore(offset)
    },
    async settle(end) {
      let offset = end - kept.reduce((sum, item) => sum + item.size, 0)
      for (const item of kept) {
        if (offset >= 0) await item.restore(offset)
        offset += item.size
      }
      kept = []
      cursor = end
    },
    moveTo(offset) {
      kept = []
      cursor = offset
    },
    lose
  }
}
