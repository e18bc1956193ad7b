import type { FileHandle } from 'node:fs/promises'
import { memoryLimits } from '../limits.js'

/** Makes a file durable while it is still being written, so that the end does not wait for all of it. */
export interface EarlyFlush {
  /** @throws the error of a flush that has failed since */
  wrote(size: number): void
  /** Waits for the flush under way. @throws its error */
  end(): Promise<void>
}

/**
 * Has the system write out what a file has got, one `fdatasync` at a time beside the work. The kernel tells
 * of a failed write once only, so the error is kept until somebody can be told.
 */
export function createEarlyFlush(handle: FileHandle): EarlyFlush {
  let unflushedSize = 0
  let underWay: Promise<void> | undefined
  let failure: unknown
  const flush = async (): Promise<void> => {
    await handle.datasync().catch((error: unknown) => {
      failure ??= error
    })
    underWay = undefined
  }
  const tell = (): void => {
    if (failure !== undefined) throw failure as Error
  }
  return {
    wrote(size) {
      tell()
      unflushedSize += size
      if (underWay !== undefined || unflushedSize < memoryLimits.flushSize) return
      unflushedSize = 0
      underWay = flush()
    },
    async end() {
      await underWay
      tell()
    }
  }
}
