import { callback, checkOptions, number, object, type OptionTable } from '../lib/check-options.js'
import { createHandleTable } from '../lib/dedup/handle-table.js'
import { encodeDictionaryFrame } from '../lib/compression/dictionary-frame.js'
import { blake3 } from '../lib/format/digest.js'
import { UsageError } from '../lib/errors.js'
import { encodeHoleFrame, encodeRepeatFrame, sealOverhead } from '../lib/format/frame.js'
import { keySlotsSize, type Header } from '../lib/format/header.js'
import { createIndexWriter, type SnapshotTotals } from '../lib/format/index-writer.js'
import { formatLimits } from '../lib/limits.js'
import {
  type BlockBatch,
  type DictionaryRecord,
  type FrameBatch,
  type RepeatedChunk,
  type SnapshotRecord,
  type StoredBlock
} from '../lib/records.js'
import { dedupCapacity } from './dedup-filter.js'
import { defineStage, expectRecords, type StageParts } from './stage.js'

export interface IndexerOptions {
  readonly header: Header
  /** Key slots, written behind the header when it says encrypted: nothing is given before they are there. */
  readonly keySlots?: Uint8Array | Promise<Uint8Array>
  /** Unique chunks that a repeat can reach back to: the dedup filter's capacity. */
  readonly capacity?: number
  /** Called with the totals so far after each batch. */
  readonly onProgress?: ((totals: SnapshotTotals) => void) | undefined
  /** Called once with the totals, when the footer is made. */
  readonly onSummary?: ((totals: SnapshotTotals) => void) | undefined
}

const optionTable: OptionTable<IndexerOptions> = {
  header: object,
  keySlots: object,
  capacity: number,
  onProgress: callback,
  onSummary: callback
}

/**
 * BlockBatch → SnapshotRecord: the header, the frames with index pages among them as they fill, the
 * dictionary's frame where its record comes, and at the end the root and the footer. Merges adjacent holes and adjacent repeats.
 *
 * Holds one index page, 57 bytes a finished page, and 10 bytes for each unique chunk a repeat can reach.
 */
export const indexer = defineStage('indexer', indexerParts)

function indexerParts(options: IndexerOptions): StageParts<BlockBatch | DictionaryRecord, SnapshotRecord> {
  checkOptions('indexer()', options, optionTable)
  const { header, keySlots = new Uint8Array(0), capacity = dedupCapacity(), onProgress, onSummary } = options
  const index = createIndexWriter({ header, sealOverhead: header.encrypted ? sealOverhead : 0 })
  const handles = createHandleTable(capacity)
  let stream = 0
  let holeSize = 0
  let repeats: RepeatedChunk[] = []
  let repeatsSize = 0

  /** Frames of one batch. */
  let pieces: Uint8Array[] = []
  /** Block frames behind them that lie side by side in the batch's slab: one piece, once it ends. */
  let blocks: { frames?: Uint8Array; start: number; end: number } = { start: 0, end: 0 }

  const endBlocks = (): void => {
    if (blocks.frames !== undefined) pieces.push(blocks.frames.subarray(blocks.start, blocks.end))
    blocks = { start: 0, end: 0 }
  }

  const push = (frame: Uint8Array): void => {
    endBlocks()
    pieces.push(frame)
  }

  const endHole = (): void => {
    if (holeSize === 0) return
    const frame = encodeHoleFrame(stream, holeSize)
    index.place(frame.length)
    push(frame)
    index.addHole(stream, holeSize)
    holeSize = 0
  }

  const endRepeats = (): void => {
    if (repeats.length === 0) return
    const found = repeats.map((repeat) => handles.get(repeat.ordinal))
    const frame = encodeRepeatFrame(
      stream,
      repeatsSize,
      found.map(({ offset }) => offset)
    )
    index.place(frame.length)
    push(frame)
    repeats.forEach(({ rawSize, digest }, i) => {
      const handle = found[i]
      if (handle !== undefined) index.addRepeat(stream, { rawSize, digest, handle })
    })
    repeats = []
    repeatsSize = 0
  }

  const addRepeat = (repeat: RepeatedChunk): void => {
    repeats.push(repeat)
    repeatsSize += repeat.rawSize
    const isFull = repeats.length === Math.min(formatLimits.repeatCountMax, index.roomInPage())
    if (isFull || repeatsSize > 2 ** 32 - 1 - formatLimits.chunkSizeMax) endRepeats()
  }

  const addBlock = (block: StoredBlock, frames: Uint8Array): void => {
    const handle = index.place(block.storedSize)
    handles.add(handle)
    index.addBlock(stream, { rawSize: block.rawSize, digest: block.digest, handle })
    if (blocks.frames !== frames || blocks.end !== block.start) {
      endBlocks()
      blocks = { frames, start: block.start, end: block.start }
    }
    blocks.end += block.storedSize
  }

  const endRuns = (): void => {
    endHole()
    endRepeats()
  }

  const endPage = async (): Promise<void> => {
    const page = await index.endPage()
    if (page !== undefined) push(page)
  }

  /** What was gathered, as one record; nothing when nothing was. */
  const gathered = (offset: number, release?: () => void): readonly FrameBatch[] => {
    endBlocks()
    const frames = pieces
    pieces = []
    if (frames.length > 0)
      return [{ kind: 'frames', offset, frames, ...(release === undefined ? {} : { release }) }]
    release?.()
    return []
  }

  let isHeaderOut = false
  const headerOnce = async (): Promise<readonly SnapshotRecord[]> => {
    if (isHeaderOut) return []
    isHeaderOut = true
    const slots = await keySlots
    const size = keySlotsSize(header)
    if (slots.length !== size)
      throw new UsageError(`the key slots of this header have ${size} bytes, not ${slots.length}`)
    return [{ kind: 'header', bytes: Buffer.concat([index.header, slots]) }]
  }

  const addDictionary = ({ bytes, sampleCount, gain }: DictionaryRecord): void => {
    const frame = encodeDictionaryFrame(bytes)
    const handle = index.place(frame.length)
    index.setDictionary({ handle, rawSize: bytes.length, digest: blake3(bytes), sampleCount, gain })
    push(frame)
  }

  const take = async (batch: BlockBatch | DictionaryRecord): Promise<readonly SnapshotRecord[]> => {
    const header = await headerOnce()
    const offset = index.offset
    if (batch.kind === 'dictionary') {
      addDictionary(batch)
      return [...header, ...gathered(offset)]
    }
    if (batch.stream !== stream) {
      endRuns()
      await endPage()
      stream = batch.stream
    }
    for (const chunk of batch.chunks) {
      if (chunk.kind !== 'hole') endHole()
      if (chunk.kind !== 'repeat') endRepeats()
      if (index.roomInPage() === 0) await endPage()
      if (chunk.kind === 'hole') holeSize += chunk.rawSize
      else if (chunk.kind === 'repeat') addRepeat(chunk)
      else addBlock(chunk, batch.frames)
    }
    onProgress?.(index.totals())
    return [...header, ...gathered(offset, batch.release)]
  }

  const end = async (): Promise<readonly SnapshotRecord[]> => {
    const header = await headerOnce()
    const offset = index.offset
    endRuns()
    await endPage()
    const root = await index.endRoot()
    push(root.frame)
    onSummary?.(index.totals())
    return [...header, ...gathered(offset), { kind: 'footer', offset: root.footerOffset, bytes: root.footer }]
  }

  return { check: expectRecords('indexer()', 'blocks', 'dictionary'), take, end }
}
