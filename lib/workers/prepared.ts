import {
  createBlockDecoder,
  createBlockEncoder,
  type BlockDecoder,
  type BlockEncoder
} from '../compression/codecs.js'
import type { CodecName } from '../format/frame.js'
import { memoryLimits } from '../limits.js'

/** A dictionary that all threads can see, so that it crosses to them without being copied. */
export interface SharedDictionary {
  readonly bytes: Uint8Array
  /** Tells one from another: its digest. */
  readonly id: string
}

export function shareDictionary(bytes: Uint8Array, id: string): SharedDictionary {
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
  shared.set(bytes)
  return { bytes: shared, id }
}

/** The codecs used last on this thread: preparing one, above all with a dictionary, costs more than a block. */
function createCache<Prepared>(): (key: string, prepare: () => Prepared) => Prepared {
  const kept = new Map<string, Prepared>()
  return (key, prepare) => {
    const prepared = kept.get(key) ?? prepare()
    kept.delete(key)
    kept.set(key, prepared)
    for (const oldest of kept.keys()) {
      if (kept.size <= memoryLimits.codecsKept) break
      kept.delete(oldest)
    }
    return prepared
  }
}

const encoders = createCache<BlockEncoder>()
const decoders = createCache<BlockDecoder>()

export function encoderFor(codec: CodecName, level: number, dictionary?: SharedDictionary): BlockEncoder {
  return encoders(`${codec} ${level} ${dictionary?.id ?? ''}`, () =>
    createBlockEncoder(codec, level, copyOf(dictionary))
  )
}

/** Decodes blocks that need the dictionary, and those that do not. */
export function decoderFor(dictionary?: SharedDictionary): BlockDecoder {
  return decoders(dictionary?.id ?? '', () => createBlockDecoder(copyOf(dictionary)))
}

/** The bindings read a dictionary when it is prepared, and must not see shared memory. */
function copyOf(dictionary: SharedDictionary | undefined): Uint8Array | undefined {
  return dictionary === undefined ? undefined : new Uint8Array(dictionary.bytes)
}
