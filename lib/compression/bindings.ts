import { createRequire } from 'node:module'
import { systemLimit } from '../errors.js'
import type * as MongoZstd from '@mongodb-js/zstd'
import type * as NodeZstd from '@toondepauw/node-zstd'
import type * as Lz4 from 'lz4-napi'

const require = createRequire(import.meta.url)

/** @throws LimitError SYSTEM_LIMIT, which must not be taken for damage of what was to be decoded */
function load(name: string): unknown {
  try {
    return require(name)
  } catch (error) {
    throw systemLimit(error) ?? error
  }
}

let zstd: typeof NodeZstd | undefined
let asyncZstd: typeof MongoZstd | undefined
let lz4: typeof Lz4 | undefined

/**
 * The native codecs, each loaded when it is first used: that takes 10 to 30 ms, and a thread needs one or
 * two of them. Loaded once: `require` takes half as long as a block to find again what it has.
 */
export const bindings = {
  /** For blocks: synchronous, any level, dictionaries. */
  get zstd(): typeof NodeZstd {
    return (zstd ??= load('@toondepauw/node-zstd') as typeof NodeZstd)
  },
  /** For index pages: asynchronous, level 3. */
  get asyncZstd(): typeof MongoZstd {
    return (asyncZstd ??= load('@mongodb-js/zstd') as typeof MongoZstd)
  },
  get lz4(): typeof Lz4 {
    return (lz4 ??= load('lz4-napi') as typeof Lz4)
  }
}
