import { CorruptError } from '../errors.js'
import { checkFrame, decodeHolePayload, decodeRepeatPayload, frameHeaderSize } from '../format/frame.js'
import type { DictionaryRef } from '../format/index-root.js'
import type { ChunkEntry, Entry, IndexPage } from '../format/index-page.js'
import { blockStreamOffset, type BlockPlace } from './check-block.js'
import type { PlacedFrame } from './frame-spans.js'

/** What must lie in the file before an index page. */
export interface Layout {
  /**
   * Takes the next frame, and gives the chunks to decode in it.
   *
   * @throws CorruptError when it is not the one that the page describes
   */
  take(frame: PlacedFrame, bytes: Uint8Array): BlockPlace[]
  /** @throws CorruptError when frames are missing */
  end(): void
}

/**
 * Holds the frames before a page against the page's entries, one after another.
 *
 * @param dictionary the one that the root names
 */
export function createLayout(page: IndexPage, where: string, dictionary?: DictionaryRef): Layout {
  let index = 0
  let streamOffset = page.streamOffset
  const next = (kind: Entry['kind'], offset: number): Entry => {
    const entry = page.entries[index++]
    if (entry?.kind !== kind) throw broken(where, offset, `the ${kind} there is not in the index`)
    streamOffset += entry.rawSize
    return entry
  }
  const takeBlock = (
    { header, offset, size, storedSize, start }: PlacedFrame,
    bytes: Uint8Array
  ): BlockPlace[] => {
    if (blockStreamOffset(bytes, where) !== streamOffset)
      throw broken(where, offset, 'the block there belongs elsewhere in its stream')
    if (header.usesDictionary && offset < (dictionary?.handle.offset ?? 0))
      throw broken(where, offset, 'the block there needs a dictionary that comes later')
    const blocks: BlockPlace[] = []
    let innerOffset = 0
    for (
      let entry = page.entries[index];
      isOf(entry, offset, storedSize, innerOffset);
      entry = page.entries[index]
    ) {
      blocks.push({
        start,
        storedSize: size,
        offset,
        rawStart: 0,
        rawSize: entry.rawSize,
        innerOffset,
        blockSize: header.rawSize,
        digest: entry.digest
      })
      innerOffset += next('block', offset).rawSize
    }
    if (blocks.length === 0 || innerOffset !== header.rawSize)
      throw broken(where, offset, 'the block there is not in the index')
    return blocks
  }
  return {
    take(frame, bytes) {
      const { header, offset } = frame
      const payload = bytes.subarray(frameHeaderSize)
      if (header.type === 'skip' || header.type === 'dictionary') {
        checkFrame(bytes, where, offset)
        if (header.type === 'dictionary' && offset !== dictionary?.handle.offset)
          throw broken(where, offset, 'the dictionary there is not the one the root names')
        return []
      }
      if (header.stream !== page.stream)
        throw broken(where, offset, `the ${header.type} there belongs to another stream`)
      if (header.type === 'block') return takeBlock(frame, bytes)
      checkFrame(bytes, where, offset)
      if (header.type === 'hole') {
        if (decodeHolePayload(payload, where) !== next('hole', offset).rawSize)
          throw broken(where, offset, 'the hole there has another size in the index')
        return []
      }
      if (header.type !== 'repeat')
        throw broken(where, offset, `a ${header.type} frame does not belong there`)
      let rawSize = 0
      for (const blockOffset of decodeRepeatPayload(payload, where)) {
        const entry = next('repeat', offset) as ChunkEntry
        if (entry.blockOffset !== blockOffset || entry.innerOffset !== 0)
          throw broken(where, offset, 'the repeat there names another block than the index')
        if (blockOffset >= offset)
          throw broken(where, offset, 'the repeat there names a block that comes later')
        rawSize += entry.rawSize
      }
      if (rawSize !== header.rawSize)
        throw broken(where, offset, 'the repeat there has another size in the index')
      return []
    },
    end() {
      if (index !== page.entries.length)
        throw broken(where, 0, 'the index describes frames that are not there')
    }
  }
}

function isOf(
  entry: Entry | undefined,
  offset: number,
  storedSize: number,
  innerOffset: number
): entry is ChunkEntry {
  return (
    entry?.kind === 'block' &&
    entry.blockOffset === offset &&
    entry.storedSize === storedSize &&
    entry.innerOffset === innerOffset
  )
}

function broken(where: string, offset: number, why: string): CorruptError {
  return new CorruptError('BAD_STRUCTURE', `${where} is damaged at byte ${offset}: ${why}`, { where, offset })
}
