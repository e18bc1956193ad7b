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
  /** Bytes of a target file that the system may hold back before it is asked to write them out. */
  flushSize: 16 * MiB,
  /** Batches in work in one parallel stage, for `n` workers: enough that none waits. */
  batchesInWork: (workerCount: number): number => workerCount + 2,
  /** Free slabs kept for reuse, each of at most a batch and its frame headers. */
  slabsKept: 16,
  /** Dedup table: one unique chunk costs at most this much, its handle included. */
  dedupEntrySizeMax: 48,
  /** Default and smallest size of the dedup table, handles included. */
  dedupMemoryDefault: 512 * MiB,
  dedupMemoryMin: 1 * MiB,
  /** Decoded chunks that an open snapshot keeps for random reads, unless told otherwise. */
  chunkCacheDefault: 64 * MiB,
  /** Decoded index pages that it keeps: a full one takes 228 KiB. */
  pageCacheSize: 16 * MiB,
  /** Stored and plain bytes of the chunks that random reads are loading; one larger chunk goes alone. */
  loadSizeMax: 8 * MiB,
  /** What is read ahead of a sequential reader, at first and at most; never more than a quarter of the cache. */
  readAheadMin: 256 * KiB,
  readAheadMax: 4 * MiB,
  /** Sequential readers of one snapshot that are told apart. */
  readCursorCount: 16,
  /** A URL is fetched in pieces of this size, of which this many bytes are kept. */
  httpBlockSize: 128 * KiB,
  httpCacheSize: 16 * MiB,
  /** Threads of one build or read. */
  workerCountMax: 64,
  /** `recover` checksums at most this many times the size of what it scans. */
  scanEffortMax: 64
} as const
