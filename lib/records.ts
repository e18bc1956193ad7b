import type { Dictionary } from './compression/dictionary.js'

/**
 * What crosses the boundary between two stages. The unit is a batch: the chunks of about 2 MiB of one
 * stream, in order, their bytes side by side in shared memory, so that a batch can be handed to a worker
 * thread whole and a boundary costs nothing worth naming at any chunk size.
 *
 * A batch that has a `release` may be given back for reuse by whoever is done with its bytes. That is an
 * offer, not a duty: a batch that is never released is garbage like any other.
 */

/** The bytes that follow belong to this stream, by its number in the header. */
export interface StreamStart {
  readonly kind: 'stream'
  readonly stream: number
}

export function isStreamStart(record: unknown): record is StreamStart {
  if (typeof record !== 'object' || record === null || ArrayBuffer.isView(record)) return false
  const { kind, stream } = record as Partial<StreamStart>
  return kind === 'stream' && Number.isInteger(stream)
}

interface Batch {
  readonly stream: number
  /** Where in the stream the batch starts. */
  readonly streamOffset: number
  readonly release?: () => void
}

/** chunker → dedup filter */
export interface ChunkBatch extends Batch {
  readonly kind: 'chunks'
  readonly bytes: Uint8Array
  /** Of each chunk, in order; their sum is `bytes.length`. */
  readonly sizes: Uint32Array
}

/** A chunk seen for the first time. Its ordinal is the number of unique chunks before it. */
export interface UniqueChunk {
  readonly kind: 'unique'
  /** Offset in the batch's bytes. */
  readonly start: number
  readonly rawSize: number
  /** BLAKE3-256 of the plain bytes. */
  readonly digest: Uint8Array
}

/** A chunk equal to the unique chunk of that ordinal. */
export interface RepeatedChunk {
  readonly kind: 'repeat'
  readonly ordinal: number
  readonly rawSize: number
  readonly digest: Uint8Array
}

/** A chunk of zeros. */
export interface Hole {
  readonly kind: 'hole'
  readonly rawSize: number
}

export type FilteredChunk = UniqueChunk | RepeatedChunk | Hole

/**
 * dictionary sampler → compressor → indexer: what the blocks behind it may be compressed with. At most one, and
 * before every block.
 */
export interface DictionaryRecord extends Dictionary {
  readonly kind: 'dictionary'
}

/** dedup filter → dictionary sampler → compressor */
export interface FilteredBatch extends Batch {
  readonly kind: 'filtered'
  readonly bytes: Uint8Array
  readonly chunks: readonly FilteredChunk[]
}

/** A unique chunk as its block frame, which starts at `start` in the batch's `frames`. */
export interface StoredBlock {
  readonly kind: 'block'
  readonly rawSize: number
  readonly digest: Uint8Array
  readonly start: number
  readonly storedSize: number
}

export type StoredChunk = StoredBlock | RepeatedChunk | Hole

/** compressor → indexer */
export interface BlockBatch extends Batch {
  readonly kind: 'blocks'
  /** The block frames, back to back. */
  readonly frames: Uint8Array
  readonly chunks: readonly StoredChunk[]
}

/** indexer → encryptor → sink: the file's bytes, in order, still split where it matters. */
export type SnapshotRecord = HeaderRecord | FrameBatch | FooterRecord

export interface HeaderRecord {
  readonly kind: 'header'
  readonly bytes: Uint8Array
}

export interface FrameBatch {
  readonly kind: 'frames'
  /** Where in the file the first frame lies; each further one follows it. */
  readonly offset: number
  /** Pieces of one whole frame or several. */
  readonly frames: readonly Uint8Array[]
  readonly release?: () => void
}

export interface FooterRecord {
  readonly kind: 'footer'
  readonly offset: number
  readonly bytes: Uint8Array
}

/** The bytes of a record, in order. */
export function piecesOf(record: SnapshotRecord): readonly Uint8Array[] {
  return record.kind === 'frames' ? record.frames : [record.bytes]
}
