import type { CodecName } from '../../lib/format/frame.js'
import type { Header } from '../../lib/format/header.js'
import type { ChunkEntry, Entry } from '../../lib/format/index-page.js'
import type { Handle, PageRef, StreamSummary } from '../../lib/format/index-root.js'

/*
 * A snapshot as parts that can be changed before `encode.ts` puts them together, so that checksums, digests,
 * seals and places fit whatever was done to them.
 */

/** Bytes that take the place of others. */
export interface Patch {
  readonly at: number
  readonly bytes: Uint8Array
}

interface Common {
  stream: number
  /** On the frame, before its checksum is made. */
  patches: Patch[]
  /** In an encrypted snapshot. */
  sealing: 'once' | 'twice' | 'none'
  /** Where it was put. */
  at?: Handle | undefined
}

export interface Block extends Common {
  kind: 'block'
  start: number
  codec: CodecName
  usesDictionary: boolean
  rawSize: number
  stored: Uint8Array
  plain: Uint8Array
  /** Sizes of the chunks that share it. */
  chunks: number[]
}
export interface Repeat extends Common {
  kind: 'repeat'
  of: Block[]
  /** Only so much of each block, with a digest that fits. */
  piece?: { readonly inner: number; readonly size: number }
}
export interface Hole extends Common {
  kind: 'hole'
  size: number
}
export interface Page extends Common {
  kind: 'page'
  codec: 'raw' | 'zstd'
  entryEdits: ((entries: MutableEntry[], page: { stream: number; streamOffset: number }) => void)[]
  /** On the plain page, before its digest is made. */
  plainPatches: Patch[]
  /** Instead of what the codec makes of the plain page. */
  stored?: Uint8Array
  refEdits: ((ref: Mutable<PageRef>) => void)[]
}
export interface DictionaryPart extends Common {
  kind: 'dictionary'
  codec: CodecName
  plain: Uint8Array
  stored: Uint8Array
}
/** A frame as it is: skippable, unknown, or out of place. */
export interface Foreign extends Common {
  kind: 'foreign'
  type: number
  payload: Uint8Array
}
export type Part = Block | Repeat | Hole | Page | DictionaryPart | Foreign

export type Mutable<T> = { -readonly [K in keyof T]: T[K] }
export type MutableEntry = Mutable<ChunkEntry> | Mutable<Exclude<Entry, ChunkEntry>>

export interface MutableRoot {
  streams: Mutable<StreamSummary>[]
  dictionary:
    { handle: Handle; rawSize: number; digest: Uint8Array; sampleCount: number; gain: number } | undefined
  pages: Mutable<PageRef>[]
}

export interface Model {
  header: Mutable<Header> & { streams: string[] }
  /** Before the header's checksum is made. */
  headerPatches: Patch[]
  /** The data key, when encrypted. */
  key?: Uint8Array
  slotEdits: ((area: Buffer, headerDigest: Uint8Array) => void)[]
  parts: Part[]
  rootCodec: 'raw' | 'zstd'
  rootEdits: ((root: MutableRoot, rootOffset: number) => void)[]
  rootPatches: Patch[]
  rootFramePatches: Patch[]
  rootStored?: Uint8Array
  extension: Uint8Array
  footerPatches: Patch[]
  /** Is put in front of the footer's checksum and magic. */
  footerTailPatches: Patch[]
}

/** What all parts have, as a writer makes it. */
export const common = (stream: number): Common => ({ stream, patches: [], sealing: 'once' })

export const isBlock = (part: Part): part is Block => part.kind === 'block'
export const isPage = (part: Part): part is Page => part.kind === 'page'

/** Bytes of the stream that a part stands for. */
export function rawSizeOf(part: Part): number {
  if (part.kind === 'block') return part.rawSize
  if (part.kind === 'hole') return part.size
  if (part.kind !== 'repeat') return 0
  return part.of.reduce((sum, { rawSize }) => sum + (part.piece?.size ?? rawSize), 0)
}

export function applyPatches(bytes: Uint8Array, patches: readonly Patch[]): void {
  for (const { at, bytes: put } of patches)
    if (at < bytes.length) bytes.set(put.subarray(0, bytes.length - at), at)
}
