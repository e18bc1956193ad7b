import { createRequire } from 'node:module'
import type * as MongoZstd from '@mongodb-js/zstd'
import type * as NodeZstd from '@toondepauw/node-zstd'
import type * as Lz4 from 'lz4-napi'

const load = createRequire(import.meta.url)

/**
 * The native codecs, each loaded when it is first used: that takes 10 to 30 ms, and a thread needs one or
 * two of them.
 */
export const bindings = {
  /** For blocks: synchronous, any level, dictionaries. */
  get zstd(): typeof NodeZstd {
    return load('@toondepauw/node-zstd') as typeof NodeZstd
  },
  /** For index pages: asynchronous, level 3. */
  get asyncZstd(): typeof MongoZstd {
    return load('@mongodb-js/zstd') as typeof MongoZstd
  },
  get lz4(): typeof Lz4 {
    return load('lz4-napi') as typeof Lz4
  }
}
