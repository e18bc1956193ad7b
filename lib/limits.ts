/**
 * Every maximum of the product, in bytes unless the name says otherwise. What a snapshot may hold is
 * checked against these before anything is allocated; what a build may keep in memory is their sum.
 */

const KiB = 1024
const MiB = 1024 * KiB

/** Bounds on what a snapshot may contain (`docs/format.md` repeats them; a test keeps both equal). */
export const formatLimits = {
  /** The header without its key slots. */
  headerSizeMax: 4 * KiB,
  streamCountMax: 16,
  streamNameSizeMax: 64,
  profileNameSizeMax: 32,
  keySlotCount: 16,
  keySlotSize: 640,
  chunkSizeMin: 512,
  chunkSizeMax: 4 * MiB,
  dictionarySizeMax: 1 * MiB,
  /** A page describes at most this many chunks and holes; 4096 of them take at most 248 KiB raw. */
  pageEntryCountMax: 4096,
  pageRawSizeMax: 248 * KiB,
  /** 2^20 pages of 4096 chunks of 64 KiB are 256 TiB. */
  pageCountMax: 1024 * 1024,
  rootRawSizeMax: 64 * MiB,
  /** One repeat frame names at most this many chunks. */
  repeatCountMax: 1024,
  /** Frame offsets are 48 bits wide. */
  fileSizeMax: 2 ** 48 - 1,
  /** A stream's size must stay exact in a double. */
  streamSizeMax: Number.MAX_SAFE_INTEGER,
  /** A Zstd frame may not ask its decoder for a larger window. */
  zstdWindowSizeMax: 8 * MiB
} as const

/** Bounds on what is held in memory at one time. */
export const memoryLimits = {
  /** Plain bytes of one batch; a larger chunk makes a batch of its own size. */
  batchSize: 1 * MiB,
  /** One read of a source file. */
  readSize: 1 * MiB,
  /** Batches in work in one parallel stage, for `n` workers: enough that none waits. */
  batchesInWork: (workerCount: number): number => workerCount + 2,
  /** Free slabs kept for reuse, each of at most a batch and its frame headers. */
  slabsKept: 16,
  /** Dedup table: one unique chunk costs at most this much, its handle included. */
  dedupEntrySizeMax: 48,
  /** Default and smallest size of the dedup table, handles included. */
  dedupMemoryDefault: 512 * MiB,
  dedupMemoryMin: 1 * MiB,
  /** Decoded index pages that a reader keeps, of about 1 MiB each. */
  pageCacheCount: 8,
  /** Threads of one build or read. */
  workerCountMax: 64,
  /** A trained dictionary. */
  dictionarySizeDefault: 110 * KiB,
  /** What a dictionary is trained on: pieces of this size, and their number. */
  samplePieceSize: 16 * KiB,
  samplePieceCountMax: 1000,
  /** Chunks that are kept from the training, to measure a dictionary by; in pairs of neighbours. */
  heldOutSizeMax: 16 * MiB,
  heldOutPairCountMax: 128,
  /** Unique chunks of a pipe that wait until a dictionary is trained of them; more than this only by one batch. */
  dictionaryWindowDefault: 32 * MiB,
  dictionaryWindowMin: 1 * MiB,
  dictionaryWindowMax: 1024 * MiB,
  /** What a chunk that waits takes beside its bytes, about. */
  waitingChunkSize: 192,
  /** Prepared codecs that a thread keeps: with a dictionary and without, of two snapshots. */
  codecsKept: 4,
  /** `recover` checksums at most this many times the size of what it scans. */
  scanEffortMax: 64
} as const
