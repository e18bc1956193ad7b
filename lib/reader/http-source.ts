import { UsageError } from '../errors.js'
import { memoryLimits } from '../limits.js'
import { checkHttp } from '../option-tables.js'
import type { ByteSource } from './byte-source.js'
import { createCache } from './cache.js'
import type { HttpFile } from './http-fetch.js'
import { closedError, createRangeFetcher, type HttpOptions } from './http-retry.js'
import { isHttp, nameOfUrl, takeLogin } from './http-url.js'

const blockSize = memoryLimits.httpBlockSize

/**
 * A file behind HTTP or HTTPS, by range requests. It is fetched in blocks of 128 KiB, neighbours in one
 * request, each once for all who want it; blocks used last are kept. Trouble on the way is met by trying
 * again from where it happened. All answers must be of the same file, by ETag or date and by size.
 *
 * @throws UsageError for what is no such URL; SourceError SOURCE_MISSING, SOURCE_UNREADABLE
 */
export async function openHttpBytes(address: string, options: HttpOptions = {}): Promise<ByteSource> {
  checkHttp(options)
  const controller = new AbortController()
  const file = describeFile(address, options, controller.signal)
  const fetcher = createRangeFetcher(file, options)
  const kept = createCache<number, Uint8Array>(memoryLimits.httpCacheSize, (block) => block.length)
  const loading = new Map<number, Promise<Uint8Array>>()

  /** Fetches blocks that follow one another, in one request. */
  const fetchBlocks = (first: number, count: number, size: number): void => {
    const start = first * blockSize
    const bytes = Buffer.allocUnsafeSlow(Math.min(size, start + count * blockSize) - start)
    const work = fetcher.fetchInto(bytes, start)
    for (let i = 0; i < count; i++) {
      // A copy: a view would keep all blocks of the request as long as one of them is used.
      const block = work.then(() => Buffer.from(bytes.subarray(i * blockSize, (i + 1) * blockSize)))
      const number = first + i
      loading.set(number, block)
      block.then(
        (found) => {
          kept.add(number, found)
          loading.delete(number)
        },
        () => loading.delete(number)
      )
    }
  }

  const begin = Buffer.allocUnsafeSlow(blockSize)
  const beginSize = await fetcher.fetchInto(begin, 0)
  const size = fetcher.state?.size ?? 0
  kept.add(0, begin.subarray(0, beginSize))

  return {
    name: file.name,
    size,
    fetched: fetcher.fetched,
    async read(offset, length, into) {
      if (controller.signal.aborted) throw closedError(file.name)
      if (!(offset >= 0 && length >= 0 && offset + length <= size))
        throw new UsageError(`${length} bytes from byte ${offset} are not in ${file.name}, which has ${size}`)
      const target = into ?? Buffer.allocUnsafeSlow(length)
      const first = Math.floor(offset / blockSize)
      const end = length === 0 ? first : Math.ceil((offset + length) / blockSize)
      const blocks: Promise<Uint8Array>[] = []
      let missing = 0
      for (let number = first; number <= end; number++) {
        const at = kept.peek(number)
        const found =
          number === end ? undefined : at === undefined ? loading.get(number) : Promise.resolve(at)
        if (found === undefined && number < end) {
          missing += 1
          continue
        }
        if (missing > 0) fetchBlocks(number - missing, missing, size)
        for (; missing > 0; missing--) {
          const block = loading.get(number - missing)
          if (block !== undefined) blocks.push(block)
        }
        if (found !== undefined) blocks.push(found)
      }
      // All must be done before the memory of the caller is his own again.
      const ends = await Promise.allSettled(blocks)
      for (const [i, block] of ends.entries()) {
        if (block.status === 'rejected') throw block.reason
        const blockStart = (first + i) * blockSize
        const from = Math.max(0, offset - blockStart)
        const part = block.value.subarray(from, offset + length - blockStart)
        target.set(part, blockStart + from - offset)
      }
      return target
    },
    async close() {
      controller.abort()
      await Promise.allSettled(loading.values())
    }
  }
}

/** @throws UsageError */
function describeFile(address: string, { headers = {} }: HttpOptions, signal: AbortSignal): HttpFile {
  const parsed = URL.canParse(address) ? new URL(address) : undefined
  const name = nameOfUrl(address)
  if (parsed === undefined || !isHttp(parsed)) throw new UsageError(`${name} is not a URL of http or https`)
  for (const [header, value] of Object.entries(headers))
    try {
      new Headers({ [header]: value })
    } catch {
      throw new UsageError(
        `header "${header}" can't be sent: its name or its value has letters that no header has`
      )
    }
  const { url, authorization } = takeLogin(parsed)
  return {
    url,
    name,
    signal,
    headers: { ...(authorization === undefined ? {} : { authorization }), ...headers }
  }
}
