import type { Entry, IndexPage } from '../format/index-page.js'

/** A chunk, or a hole when it has no digest, put in its place in the stream. */
export interface Placed {
  readonly offset: number
  readonly size: number
  readonly digest?: Uint8Array
}

/** What was put in place on the word of checksums alone, until an index page tells. */
export interface Provisional {
  add(placed: Placed): void
  /** Bytes of the stream were overwritten: nothing that touches them is there any more. */
  forget(start: number, end: number): void
  /**
   * Holds what was placed against a page that describes that part of the stream, and forgets it.
   *
   * @returns what is an entry of the page, and what contradicts it
   */
  judge(page: IndexPage): { readonly right: readonly Placed[]; readonly wrong: readonly Placed[] }
}

/** @param countMax places kept; the oldest are forgotten, as if their page were lost */
export function createProvisional(countMax: number): Provisional {
  let placed: Placed[] = []
  return {
    add(one) {
      placed.push(one)
      if (placed.length > 2 * countMax) placed = placed.slice(-countMax)
    },
    forget(start, end) {
      placed = placed.filter((one) => one.offset + one.size <= start || one.offset >= end)
    },
    judge(page) {
      const entries = new Map<number, Entry>()
      let end = page.streamOffset
      for (const entry of page.entries) {
        entries.set(end, entry)
        end += entry.rawSize
      }
      const right: Placed[] = []
      const wrong: Placed[] = []
      for (const one of placed) {
        if (one.offset + one.size <= page.streamOffset || one.offset >= end) continue
        const list = isSame(entries.get(one.offset), one) ? right : wrong
        list.push(one)
      }
      // What lies further on waits for its own page; what lies before has lost it.
      placed = placed.filter((one) => one.offset >= end)
      return { right, wrong }
    }
  }
}

function isSame(entry: Entry | undefined, { size, digest }: Placed): boolean {
  if (entry?.rawSize !== size) return false
  if (entry.kind === 'hole' || digest === undefined) return entry.kind === 'hole' && digest === undefined
  return Buffer.compare(entry.digest, digest) === 0
}
