import { SourceError, UsageError } from '../errors.js'
import { memoryLimits } from '../limits.js'
import type { ByteSource } from './byte-source.js'
import { createCache } from './cache.js'
import {
  backOff,
  fetchRange,
  isHttp,
  PassingError,
  reasonOf,
  unreadable,
  type FileState,
  type HttpFile,
  type HttpOptions
} from './http-fetch.js'

const blockSize = memoryLimits.httpBlockSize

/**
 * A file behind HTTP or HTTPS, by range requests. It is fetched in blocks of 128 KiB, neighbours in one
 * request, each once for all who want it; blocks used last are kept. Trouble on the way is met by trying
 * again from where it happened. All answers must be of the same file, by ETag or date and by size.
 *
 * @throws UsageError for what is no such URL; SourceError SOURCE_MISSING, SOURCE_UNREADABLE
 */
export async function openHttpBytes(address: string, options: HttpOptions = {}): Promise<ByteSource> {
  const { file, controller } = describeFile(address, options)
  const kept = createCache<number, Uint8Array>(memoryLimits.httpCacheSize, (block) => block.length)
  const loading = new Map<number, Promise<Uint8Array>>()
  const fetched = { size: 0, requestCount: 0 }
  let state: FileState | undefined

  /** Fills `into` with the bytes from `start`; fewer where the file ends. Gives how many. */
  const fetchInto = async (into: Uint8Array, start: number): Promise<number> => {
    const { tryCount = 5, retryDelayMs = 250, timeoutMs = 30_000 } = options
    let filled = 0
    for (let tries = 1; ; tries++) {
      const watch = watchStall(controller.signal, timeoutMs)
      try {
        fetched.requestCount += 1
        const signal = watch.signal
        const answer = await fetchRange({ ...file, signal }, start + filled, start + into.length, state)
        state ??= answer.state
        const end = answer.end - start
        for await (const piece of answer.body) {
          watch.moved()
          fetched.size += piece.length
          if (filled + piece.length > end)
            throw unreadable(file.name, 'its server gives more than was asked for')
          into.set(piece, filled)
          filled += piece.length
          tries = 0
        }
        if (filled === end) return filled
        throw new PassingError(`the answer ended after ${filled} of ${end} bytes`)
      } catch (error) {
        if (controller.signal.aborted) throw closed(file)
        if (error instanceof SourceError) throw error
        const passing = watch.signal.aborted
          ? new PassingError(`the server sent nothing for ${timeoutMs / 1000} s`)
          : error instanceof PassingError
            ? error
            : new PassingError(reasonOf(error), 0, { cause: error })
        if (tries >= tryCount)
          throw unreadable(file.name, `${passing.message} (tried ${tryCount} times)`, error)
        await backOff(passing, retryDelayMs, Math.max(1, tries), controller.signal)
      } finally {
        watch.end()
      }
    }
  }

  /** Fetches blocks that follow one another, in one request. */
  const fetchBlocks = (first: number, count: number, size: number): void => {
    const start = first * blockSize
    const bytes = Buffer.allocUnsafeSlow(Math.min(size, start + count * blockSize) - start)
    const work = fetchInto(bytes, start)
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
  const beginSize = await fetchInto(begin, 0)
  const size = state?.size ?? 0
  kept.add(0, begin.subarray(0, beginSize))

  return {
    name: file.name,
    size,
    fetched,
    async read(offset, length, into = Buffer.allocUnsafeSlow(length)) {
      if (controller.signal.aborted) throw closed(file)
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
        into.set(part, blockStart + from - offset)
      }
      return into
    },
    async close() {
      controller.abort()
      await Promise.allSettled(loading.values())
    }
  }
}

function closed({ name }: Pick<HttpFile, 'name'>): UsageError {
  return new UsageError(`${name} is closed`)
}

function describeFile(
  address: string,
  { headers = {} }: HttpOptions
): { file: Omit<HttpFile, 'signal'>; controller: AbortController } {
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url === undefined || !isHttp(url)) throw new UsageError(`${address} is not a URL of http or https`)
  const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  const authorization: Record<string, string> =
    login === ':' ? {} : { authorization: `Basic ${Buffer.from(login).toString('base64')}` }
  url.username = ''
  url.password = ''
  url.hash = ''
  const file = { url, name: url.origin + url.pathname, headers: { ...authorization, ...headers } }
  return { file, controller: new AbortController() }
}

/** Aborts when nothing has moved for a while, and when `outer` does. */
function watchStall(
  outer: AbortSignal,
  timeoutMs: number
): { signal: AbortSignal; moved: () => void; end: () => void } {
  const inner = new AbortController()
  const stop = (): void => inner.abort()
  const timer = setTimeout(stop, timeoutMs)
  outer.addEventListener('abort', stop)
  return {
    signal: inner.signal,
    moved: () => timer.refresh(),
    end() {
      clearTimeout(timer)
      outer.removeEventListener('abort', stop)
    }
  }
}
