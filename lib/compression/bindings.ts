import type * as MongoZstd from '@mongodb-js/zstd'
import type * as NodeZstd from '@toondepauw/node-zstd'
import type * as Lz4 from 'lz4-napi'
import { loadNative } from '../native.js'

let zstd: typeof NodeZstd | undefined
let asyncZstd: typeof MongoZstd | undefined
let lz4: typeof Lz4 | undefined

/**
 * The native codecs, each loaded when it is first used: that takes 10 to 30 ms, and a thread needs one or
 * two of them. Loaded once: `require` takes half as long as a block to find again what it has.
 *
 * Each throws UnsupportedError NATIVE_MISSING where its binary is not installed.
 */
export const bindings = {
  /** For blocks: synchronous, any level, dictionaries. */
  get zstd(): typeof NodeZstd {
    return (zstd ??= loadNative('@toondepauw/node-zstd') as typeof NodeZstd)
  },
  /** For index pages: asynchronous, level 3. */
  get asyncZstd(): typeof MongoZstd {
    return (asyncZstd ??= loadNative('@mongodb-js/zstd') as typeof MongoZstd)
  },
  get lz4(): typeof Lz4 {
    return (lz4 ??= loadNative('lz4-napi') as typeof Lz4)
  }
}

/**
 * Loads what may end the whole process: the asynchronous codec starts threads when it is loaded, and aborts where the
 * system gives none. To be called before there is a file that it would leave.
 *
 * @throws UnsupportedError NATIVE_MISSING
 */
export function loadRiskyBinding(): unknown {
  return bindings.asyncZstd
}
