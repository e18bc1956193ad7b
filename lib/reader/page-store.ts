import { columnsSize, type PageColumns } from '../format/index-page.js'
import { createCache } from './cache.js'

/** Decoded index pages, by number. */
export interface PageStore {
  /** The page when it is at hand. */
  peek(number: number): PageColumns | undefined
  get(number: number): Promise<PageColumns>
  /** Waits until nothing is being loaded. */
  settle(): Promise<void>
}

/**
 * Loads pages and keeps those used last. Askers for the same page share one load; a failed one is not kept.
 *
 * @param sizeMax bytes kept
 */
export function createPageStore(load: (number: number) => Promise<PageColumns>, sizeMax: number): PageStore {
  const kept = createCache<number, PageColumns>(sizeMax, ({ entryCount }) => columnsSize(entryCount))
  const loading = new Map<number, Promise<PageColumns>>()
  const start = (number: number): Promise<PageColumns> => {
    const page = load(number)
      .then((loaded) => {
        kept.add(number, loaded)
        return loaded
      })
      .finally(() => loading.delete(number))
    loading.set(number, page)
    return page
  }
  return {
    peek: (number) => kept.peek(number),
    get: async (number) => kept.peek(number) ?? (await (loading.get(number) ?? start(number))),
    async settle() {
      await Promise.allSettled(loading.values())
    }
  }
}
