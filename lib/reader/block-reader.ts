import { setImmediate as nextTurn } from 'node:timers/promises'
import { CorruptError } from '../errors.js'
import { decodeFrameHeader, frameHeaderSize } from '../format/frame.js'
import { openFrame, type Sealing } from '../crypto/sealing.js'
import { decoderFor, type SharedDictionary } from '../workers/prepared.js'
import type { ByteSource } from './byte-source.js'
import { checkBlockFrame } from './check-block.js'

/** What names a chunk: an index entry does. Without a digest the checksum has to do. */
export interface ChunkPlace {
  readonly blockOffset: number
  readonly storedSize: number
  readonly rawSize: number
  readonly innerOffset: number
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
 */
export function createBlockReader(
  source: ByteSource,
  start: number,
  sealing: Sealing | undefined,
  dictionary?: () => Promise<SharedDictionary | undefined>
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

  const reader: BlockReader = {
    async read(chunk) {
      checkPlace(chunk.blockOffset, chunk.storedSize)
      return reader.decode(
        open(await source.read(chunk.blockOffset, chunk.storedSize), chunk.blockOffset),
        chunk
      )
    },
    async readAt(blockOffset) {
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
      return reader.decode(frame, { blockOffset, storedSize, rawSize, innerOffset: 0 })
    },
    async decode(frame, { blockOffset, ...chunk }) {
      const decodeBlock = decoderFor(await dictionary?.())
      await nextTurn() // the bindings free their buffers then
      return checkBlockFrame(
        frame,
        { ...chunk, start: 0, offset: blockOffset, rawStart: 0 },
        decodeBlock,
        source.name
      )
    }
  }
  return reader
}
