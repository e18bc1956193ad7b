import { encodeFrame, type CodecName } from '../format/frame.js'
import { createBlockDecoder, createBlockEncoder } from './codecs.js'

const level = 3

/** The frame of a dictionary: Zstd, or raw where that is not smaller. */
export function encodeDictionaryFrame(dictionary: Uint8Array): Uint8Array {
  const shrunk = createBlockEncoder('zstd', level)(dictionary)
  const codec: CodecName = shrunk === undefined ? 'raw' : 'zstd'
  const stored = shrunk ?? dictionary
  if (Buffer.compare(decodeDictionary(codec, stored, dictionary.length), dictionary) !== 0)
    throw new Error('the dictionary just packed does not decode to what was encoded')
  return encodeFrame(stored, { type: 'dictionary', codec, rawSize: dictionary.length })
}

/** @throws CorruptError BAD_STRUCTURE */
export function decodeDictionary(codec: CodecName, stored: Uint8Array, rawSize: number): Uint8Array {
  return createBlockDecoder()(codec, stored, rawSize)
}
