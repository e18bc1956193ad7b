import { copyBytes } from '../format/bytes.js'
import { findEntry, isHoleAt, type PageColumns } from '../format/index-page.js'
import type { IndexRoot } from '../format/index-root.js'
import { memoryLimits } from '../limits.js'
import type { ChunkStore } from './chunk-store.js'
import { findPage } from './find-page.js'
import type { PageStore } from './page-store.js'
import { createReadAhead } from './read-ahead.js'

export interface RandomReadOptions {
  readonly root: IndexRoot
  readonly pages: PageStore
  readonly chunks: ChunkStore
  readonly cacheSize: number
}

export interface RandomRead {
  /** Puts the bytes of a range, which lies in the stream, into `target`. */
  read(target: Uint8Array, stream: number, start: number, end: number): Promise<void>
  /** Whether a range is part of one hole: at once when the page is at hand. */
  isHole(stream: number, start: number, end: number): boolean | Promise<boolean>
  /** Waits for all that is being read; reads nothing ahead any more. */
  settle(): Promise<void>
}

/**
 * Reads through the caches. Where page and chunks are at hand there is nothing to wait for: a page is
 * searched, bytes are copied. What is missing is loaded, from a page all at once.
 */
export function createRandomRead({ root, pages, chunks, cacheSize }: RandomReadOptions): RandomRead {
  const nextAhead = createReadAhead(Math.min(memoryLimits.readAheadMax, Math.floor(cacheSize / 4)))

  /** The pages of a range, each with the part of the range that it describes. */
  const walk = async (
    stream: number,
    start: number,
    end: number,
    take: (page: PageColumns, from: number, to: number) => Promise<void> | undefined
  ): Promise<void> => {
    let from = start
    for (let number = findPage(root, stream, start); from < end; number++) {
      const page = pages.peek(number) ?? (await pages.get(number))
      const to = Math.min(end, page.starts[page.entryCount] ?? end)
      const waiting = take(page, from, to)
      if (waiting !== undefined) await waiting
      from = to
    }
  }

  const readPage = (
    target: Uint8Array,
    start: number,
    page: PageColumns,
    from: number,
    to: number
  ): Promise<void> | undefined => {
    const put = (index: number, chunk: Uint8Array): void => {
      const chunkStart = page.starts[index] ?? 0
      const first = Math.max(from, chunkStart)
      const last = Math.min(to, chunkStart + chunk.length)
      copyBytes(chunk.subarray(first - chunkStart, last - chunkStart), target, first - start)
    }
    let missing: number[] | undefined
    for (let index = findEntry(page, from); (page.starts[index] ?? to) < to; index++) {
      if (isHoleAt(page, index)) {
        const first = Math.max(from, page.starts[index] ?? 0)
        target.fill(0, first - start, Math.min(to, page.starts[index + 1] ?? to) - start)
        continue
      }
      const chunk = chunks.peek(page, index)
      if (chunk === undefined) (missing ??= []).push(index)
      else put(index, chunk)
    }
    return missing === undefined ? undefined : chunks.load(page, missing, put)
  }

  const loadAhead = async (stream: number, start: number, end: number): Promise<void> => {
    await walk(stream, start, end, (page, from, to) => {
      const missing: number[] = []
      for (let index = findEntry(page, from); (page.starts[index] ?? to) < to; index++)
        if (!isHoleAt(page, index) && chunks.peek(page, index) === undefined) missing.push(index)
      // Readers that wait come first.
      return missing.length === 0 || !chunks.hasRoom(to - from) ? undefined : chunks.load(page, missing)
    })
  }

  const running = new Set<Promise<void>>()
  const track = (work: Promise<void>): void => {
    const done = work
      .catch(() => undefined) // told to who waits for it; of what is read ahead, to who reads there
      .then(() => {
        running.delete(done)
      })
    running.add(done)
  }
  let isEnding = false

  return {
    async read(target, stream, start, end) {
      const size = root.streams[stream]?.size ?? 0
      const ahead = nextAhead(stream, start, end)
      const reading = walk(stream, start, end, (page, from, to) => readPage(target, start, page, from, to))
      track(reading)
      if (ahead !== undefined && ahead.start < size && !isEnding)
        track(loadAhead(stream, ahead.start, Math.min(size, ahead.end)))
      await reading
    },
    isHole(stream, start, end) {
      const isIn = (page: PageColumns): boolean => {
        const index = findEntry(page, start)
        return isHoleAt(page, index) && end <= (page.starts[index + 1] ?? start)
      }
      const number = findPage(root, stream, start)
      const page = pages.peek(number)
      return page === undefined ? pages.get(number).then(isIn) : isIn(page)
    },
    async settle() {
      isEnding = true
      while (running.size > 0) await Promise.all(running)
    }
  }
}
