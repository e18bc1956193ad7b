import { Readable } from 'node:stream'
import { toBytes } from '../bytes-of.js'
import { sourceError } from './source-error.js'
import type { Source } from './source.js'

/** Any bytes that can be iterated, as a source. A stream is destroyed by `close`; any other iterable closes itself. */
export function iterableSource(bytes: AsyncIterable<Uint8Array | string>, name: string): Source {
  async function* read(): AsyncGenerator<Uint8Array, void> {
    try {
      for await (const piece of bytes as AsyncIterable<unknown>) yield toBytes(piece, name)
    } catch (error) {
      throw sourceError(error, name)
    }
  }
  function close(): Promise<void> {
    if (bytes instanceof Readable) bytes.destroy()
    return Promise.resolve()
  }
  return { name, size: undefined, read, close }
}
