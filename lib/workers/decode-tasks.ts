import { readSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { openFrame, type Sealing } from '../crypto/sealing.js'
import { copyBytes } from '../format/bytes.js'
import { memoryLimits } from '../limits.js'
import { blockAt, framesSize, type BlockList } from '../reader/block-list.js'
import { readsOf, type BlockRead } from '../reader/block-reads.js'
import { checkBlockFrame, checkChunk, type BlockPlace } from '../reader/check-block.js'
import type { Range } from '../reader/ranges.js'
import { becameShorter, sourceError } from '../source/source-error.js'
import { writeAllSync } from '../target/write-all.js'
import { countOutput } from './collect.js'
import { flattenError, type PlainError } from './messages.js'
import { decoderFor, type SharedDictionary } from './prepared.js'

/** The tasks of reading: frames are opened, decoded and checked. */

export interface OpenFramesArgs {
  readonly sealing: Sealing
  readonly bytes: Uint8Array
  /** Of each sealed frame: start in `bytes`, size, offset in the file. */
  readonly frames: readonly (readonly [start: number, size: number, offset: number])[]
  /** Takes the opened frames, back to back. */
  readonly target: Uint8Array
  readonly where: string
}

/** @throws CorruptError */
export async function openFrames({ sealing, bytes, frames, target, where }: OpenFramesArgs): Promise<void> {
  let openStart = 0
  for (const [start, size, offset] of frames) {
    const frame = openFrame(sealing, bytes.subarray(start, start + size), where, offset)
    copyBytes(frame, target, openStart)
    openStart += frame.length
  }
  return Promise.resolve()
}

export interface DecodeBlocksArgs {
  /** Whole block frames, sealed when `sealing` is there. */
  readonly frames: Uint8Array
  readonly blocks: BlockList
  /** Takes the chunks' plain bytes, each at its `rawStart`; without it they are only checked. */
  readonly bytes?: Uint8Array
  readonly where: string
  readonly sealing?: Sealing | undefined
  /** What blocks that are flagged for it need. */
  readonly dictionary?: SharedDictionary | undefined
}

/** Decodes block frames and checks checksum, sizes and digest of each. */
export async function decodeBlocks(args: DecodeBlocksArgs): Promise<void> {
  const decodeBlock = createBlockDecoding(args)
  for (let i = 0; i < args.blocks.count; i++) {
    const block = blockAt(args.blocks, i)
    const raw = decodeBlock(block) // also where nobody wants the bytes: that checks them
    if (args.bytes !== undefined) copyBytes(raw, args.bytes, block.rawStart)
    await nextTurn()
  }
}

/**
 * Gives the plain bytes of chunks, decoded on the calling thread: the one place where a block is opened, decoded and
 * checked, whoever reads it. A block that holds several chunks in a row is decoded once.
 *
 * @returns gives memory of the codec or a part of `frames`; to be copied
 */
export function createBlockDecoding({
  frames,
  where,
  sealing,
  dictionary
}: Omit<DecodeBlocksArgs, 'blocks' | 'bytes'>): (block: BlockPlace) => Uint8Array {
  let open: { readonly start: number; readonly storedSize: number; readonly bytes: Uint8Array } | undefined
  /** Two entries may say different things of one block; then the frame is held against the second, too. */
  const isOpen = ({ start, storedSize, blockSize }: BlockPlace): boolean =>
    open?.start === start &&
    open.storedSize === storedSize &&
    (blockSize === undefined || open.bytes.length === blockSize)
  return (block) => {
    if (open === undefined || !isOpen(block)) {
      const stored = frames.subarray(block.start, block.start + block.storedSize)
      const frame = sealing === undefined ? stored : openFrame(sealing, stored, where, block.offset)
      const bytes = checkBlockFrame(frame, block, decoderFor(dictionary), where)
      open = { start: block.start, storedSize: block.storedSize, bytes }
      countOutput(open.bytes.length, memoryLimits.decodeGarbageMax)
    }
    return checkChunk(open.bytes, block, where)
  }
}

/** Blocks of one reader. */
export interface LoadGroup {
  /** The frames, where there is no file to read them from. */
  readonly frames?: Uint8Array | undefined
  readonly blocks: BlockList
  /** Take the chunks. */
  readonly chunks: readonly Uint8Array[]
}

export interface LoadBlocksArgs extends Pick<DecodeBlocksArgs, 'where' | 'sealing' | 'dictionary'> {
  /** The file. */
  readonly fd?: number | undefined
  readonly groups: readonly LoadGroup[]
}

/**
 * Reads and decodes groups of blocks, each for a reader of its own: one that fails does no harm to the others.
 *
 * @returns the error of each group that has one
 */
export async function loadBlocks({
  fd,
  groups,
  where,
  sealing,
  dictionary
}: LoadBlocksArgs): Promise<(PlainError | undefined)[]> {
  const errors: (PlainError | undefined)[] = []
  for (const { blocks, chunks, frames: given } of groups) {
    try {
      const frames = given ?? readFrames(fd, blocks, where)
      const decodeBlock = createBlockDecoding({ frames, where, sealing, dictionary })
      for (const [i, chunk] of chunks.entries()) {
        if (i > 0) await nextTurn()
        copyBytes(decodeBlock(blockAt(blocks, i)), chunk)
      }
      errors.push(undefined)
    } catch (error) {
      errors.push(flattenError(error))
    }
    await nextTurn()
  }
  return errors
}

/** Where the plain bytes go that threads write themselves: a file or block device. */
export interface WriteTarget {
  readonly fd: number
  /** For messages. */
  readonly name: string
}

export interface WriteBlocksArgs extends Pick<DecodeBlocksArgs, 'where' | 'sealing' | 'dictionary'> {
  /** The file of the frames; without one they are in `frames`. */
  readonly fd?: number | undefined
  readonly frames?: Uint8Array | undefined
  readonly blocks: BlockList
  readonly target: WriteTarget
  /** Where in the target the bytes of `rawStart` 0 go. */
  readonly position: number
  /** Only what has its `rawStart` in here is written. */
  readonly range: Range
}

/**
 * Reads, decodes and checks blocks, and writes their chunks, which lie side by side in the target: all of
 * them are right, or nothing is written.
 *
 * @throws CorruptError, SourceError, TargetError
 */
export async function writeBlocks({
  fd,
  frames: given,
  blocks,
  target,
  position,
  range,
  ...context
}: WriteBlocksArgs): Promise<void> {
  // Nothing else happens on this thread from here to the write: the memory of `readFrames` is ours so long.
  const decodeBlock = createBlockDecoding({
    ...context,
    frames: given ?? readFrames(fd, blocks, context.where)
  })
  // Not a literal that is filled in a loop: see "A minor collection frees what is young" in docs/decisions.md.
  const pieces = Array.from({ length: blocks.count }, (_, i) => {
    const block = blockAt(blocks, i)
    const from = Math.max(0, range.start - block.rawStart)
    return decodeBlock(block).subarray(from, Math.max(0, range.end - block.rawStart))
  })
  writeAllSync(target.fd, pieces, target.name, position + range.start)
  await nextTurn()
}

/** What frames are read into, until the next ones are. */
let scratch = Buffer.alloc(0)

/** @returns the frames, each at its `start` */
function readFrames(fd: number | undefined, blocks: BlockList, where: string): Uint8Array {
  if (fd === undefined) throw new Error('there is neither a file nor a frame')
  const size = framesSize(blocks)
  // Room for a batch of blocks that did not shrink, or for one that is larger.
  if (scratch.length < size) scratch = Buffer.allocUnsafeSlow(Math.max(size, 2 * memoryLimits.writeSize))
  try {
    for (const read of readsOf(blocks)) readWhole(fd, read, where)
  } catch (error) {
    throw sourceError(error, where)
  }
  return scratch.subarray(0, size)
}

function readWhole(fd: number, { start, size, offset }: BlockRead, where: string): void {
  for (let filled = 0; filled < size;) {
    const count = readSync(fd, scratch, start + filled, size - filled, offset + filled)
    if (count === 0) throw becameShorter(where, offset)
    filled += count
  }
}
