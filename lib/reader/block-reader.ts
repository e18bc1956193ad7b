import { setImmediate as nextTurn } from 'node:timers/promises'
import type { BlockDecoder } from '../compression/codecs.js'
import { CorruptError } from '../errors.js'
import { decodeFrameHeader, frameHeaderSize } from '../format/frame.js'
import { openFrame, type Sealing } from '../crypto/sealing.js'
import { decoderFor, type SharedDictionary } from '../workers/prepared.js'
import type { ByteSource } from './byte-source.js'
import { checkBlockFrame, checkChunk } from './check-block.js'

/** What names a chunk: an index entry does. Without a digest the checksum has to do. */
export interface ChunkPlace {
  readonly blockOffset: number
  readonly storedSize: number
  readonly rawSize: number
  readonly innerOffset: number
  /** Plain bytes of the whole block, where it is known. */
  readonly blockSize?: number | undefined
  readonly digest?: Uint8Array
}

/** Reads single blocks, on this thread. */
export interface BlockReader {
  /** @throws CorruptError unless the block is intact and holds the chunk */
  read(chunk: ChunkPlace): Promise<Uint8Array>
  /** The plain bytes of the block frame at an offset. */
  readAt(blockOffset: number): Promise<Uint8Array>
  /** The plain bytes of a block frame in hand. */
  decode(frame: Uint8Array, chunk: ChunkPlace): Promise<Uint8Array>
}

/**
 * @param start where the frames start; no block lies before it
 * @param dictionary gives what blocks may need to be decoded
 * @param onDecode called with the number of plain bytes before they are decoded or digested
 */
export function createBlockReader(
  source: ByteSource,
  start: number,
  sealing: Sealing | undefined,
  dictionary?: () => Promise<SharedDictionary | undefined>,
  onDecode?: (rawSize: number) => void
): BlockReader {
  const checkPlace = (offset: number, size: number): void => {
    if (offset >= start && offset + size <= source.size) return
    const where = source.name
    throw new CorruptError('BAD_STRUCTURE', `${where} is damaged: no block lies at byte ${offset}`, {
      where,
      offset
    })
  }
  /** The frame itself, from its sealed form where there is one. */
  const open = (stored: Uint8Array, offset: number): Uint8Array =>
    sealing === undefined ? stored : openFrame(sealing, stored, source.name, offset)

  /** The block decoded last: one that holds many chunks is not decoded for each of them. */
  let last: { readonly offset: number; readonly size: number; readonly bytes: Uint8Array } | undefined
  const decode = async (frame: Uint8Array, { blockOffset, ...chunk }: ChunkPlace): Promise<Uint8Array> => {
    const decoder = decoderFor(await dictionary?.())
    await nextTurn() // the bindings free their buffers then
    const decodeBlock: BlockDecoder = (codec, stored, rawSize, usesDictionary) => {
      onDecode?.(rawSize)
      return decoder(codec, stored, rawSize, usesDictionary)
    }
    const place = { ...chunk, start: 0, offset: blockOffset, rawStart: 0 }
    last = undefined
    const bytes = checkBlockFrame(frame, place, decodeBlock, source.name)
    last = { offset: blockOffset, size: chunk.storedSize, bytes }
    return checkChunk(bytes, place, source.name)
  }
  return {
    async read(chunk) {
      const { blockOffset, storedSize, blockSize } = chunk
      const isLast = last?.offset === blockOffset && last.size === storedSize
      if (last !== undefined && isLast && last.bytes.length === (blockSize ?? last.bytes.length)) {
        onDecode?.(chunk.rawSize) // which takes as long to digest
        return checkChunk(last.bytes, { ...chunk, start: 0, offset: blockOffset, rawStart: 0 }, source.name)
      }
      checkPlace(blockOffset, storedSize)
      return decode(open(await source.read(blockOffset, storedSize), blockOffset), chunk)
    },
    async readAt(blockOffset) {
      if (last?.offset === blockOffset) return last.bytes
      checkPlace(blockOffset, frameHeaderSize)
      const outer = decodeFrameHeader(
        await source.read(blockOffset, frameHeaderSize),
        source.name,
        blockOffset
      )
      const storedSize = frameHeaderSize + outer.payloadSize
      checkPlace(blockOffset, storedSize)
      const frame = open(await source.read(blockOffset, storedSize), blockOffset)
      const { rawSize } = decodeFrameHeader(frame, source.name, blockOffset)
      return decode(frame, { blockOffset, storedSize, rawSize, innerOffset: 0 })
    },
    decode
  }
}
