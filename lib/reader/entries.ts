import { digestAt, findEntry, isHoleAt } from '../format/index-page.js'
import type { IndexRoot } from '../format/index-root.js'
import { findPage } from './find-page.js'
import type { PageStore } from './page-store.js'

/** What the index says of a piece of a stream: a whole chunk with its digest, or a hole. Bytes. */
export type IndexedPiece =
  | { readonly kind: 'chunk'; readonly offset: number; readonly size: number; readonly digest: Uint8Array }
  | { readonly kind: 'hole'; readonly offset: number; readonly size: number }

/** The pieces that touch a range, whole, in order: from the index alone. */
export async function* indexedPieces(
  { root, pages }: { readonly root: IndexRoot; readonly pages: PageStore },
  stream: number,
  start: number,
  end: number
): AsyncGenerator<IndexedPiece, void> {
  for (let number = findPage(root, stream, start); number < root.pages.length; number++) {
    const ref = root.pages.at(number)
    if (ref?.stream !== stream || ref.streamOffset >= end) return
    const page = await pages.get(number)
    for (let index = findEntry(page, start); index < page.entryCount; index++) {
      const offset = page.starts[index] ?? end
      if (offset >= end) return
      const size = (page.starts[index + 1] ?? end) - offset
      if (isHoleAt(page, index)) yield { kind: 'hole', offset, size }
      else yield { kind: 'chunk', offset, size, digest: digestAt(page, index) }
    }
  }
}
