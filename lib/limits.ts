/**
 * Every maximum of the product, in bytes unless the name says otherwise. What a snapshot may hold is
 * checked against these before anything is allocated; what a build may keep in memory is their sum.
 */

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB

/** Bounds on what a snapshot may contain (`docs/format.md` repeats them; a test keeps both equal). */
export const formatLimits = {
  /** The header without its key slots. */
  headerSizeMax: 4 * KiB,
  streamCountMax: 16,
  streamNameSizeMax: 64,
  profileNameSizeMax: 32,
  keySlotCount: 16,
  keySlotSize: 640,
  /** N × r × p of the passphrase slots that are tried when a snapshot is opened, all together: 5 to 10 s. */
  scryptWorkMax: 2 ** 24,
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
  /** Plain bytes of one batch of a build; a larger chunk makes a batch of its own size. */
  batchSize: 2 * MiB,
  /** One read of a source file. */
  readSize: 2 * MiB,
  /** Bytes of a target file that the system may hold back before it is asked to write them out. */
  flushSize: 16 * MiB,
  /** Batches in work in one parallel stage, for `n` workers: enough that none waits. */
  batchesInWork: (workerCount: number): number => workerCount + 1,
  /** Pieces that are searched for cuts; the newest must wait, because it may turn out to be the last. */
  piecesInWork: (workerCount: number): number => Math.max(2, workerCount),
  /** Free slabs kept for reuse; all are of one size, that of the largest batch and a little more. */
  slabsKept: 16,
  /** Dedup table: one unique chunk costs at most this much, its handle included. */
  dedupEntrySizeMax: 48,
  /** Default and smallest size of the dedup table, handles included. */
  dedupMemoryDefault: 512 * MiB,
  dedupMemoryMin: 1 * MiB,
  /** Plain bytes of the chunks that are decoded and given out together; a larger chunk goes alone. */
  runSize: 1 * MiB,
  /** Frames that are checked together: what is known of a frame takes more than the smallest frame. */
  spanFrameCountMax: 2048,
  /** Runs of them in work, for `n` workers. */
  runsInWork: (workerCount: number): number => workerCount + 2,
  /** Plain bytes that a thread decodes and then writes to a file at once: fewer writes, which only one thread can make. */
  writeSize: 2 * MiB,
  /** The same of those that threads read and write: none holds any bytes until its turn comes. Enough for a thread's start. */
  writesInWork: (workerCount: number): number => 3 * workerCount + 32,
  /** Decoded chunks that an open snapshot keeps for random reads, unless told otherwise. */
  chunkCacheDefault: 64 * MiB,
  /** Its chunks share memory in pieces of this size, or an eighth of a smaller cache. */
  cacheSegmentSize: 2 * MiB,
  /** Decoded index pages that it keeps: a full one takes 228 KiB. */
  pageCacheSize: 16 * MiB,
  /** Stored and plain bytes of the chunks that random reads are loading; one larger chunk goes alone. */
  loadSizeMax: 4 * MiB,
  /** Plain bytes that random reads decode in one turn of the event loop: codecs' buffers are freed behind it. */
  outputSizeMax: 1 * MiB,
  /**
   * Plain bytes of codecs' buffers, in use or not, that may wait in a thread to be freed: of a build, and of what decodes.
   * To look for them takes a fraction of a millisecond.
   */
  encodeGarbageMax: 1 * MiB,
  decodeGarbageMax: 4 * MiB,
  /** In each thread, what a stored block and its size are put together in for the codec; a larger block gets memory of its own. */
  decodeScratchSize: 256 * KiB,
  /** What is read ahead of a sequential reader, at first and at most; never more than a quarter of the cache. */
  readAheadMin: 256 * KiB,
  readAheadMax: 4 * MiB,
  /** Sequential readers of one snapshot that are told apart. */
  readCursorCount: 16,
  /** A URL is fetched in pieces of this size, of which this many bytes are kept. */
  httpBlockSize: 128 * KiB,
  httpCacheSize: 16 * MiB,
  /** A request that brings less than this counts as one of the tries for its range. */
  httpProgressSize: 16 * KiB,
  /** Threads of one build or read. */
  workerCountMax: 64,
  /** A trained dictionary. */
  dictionarySizeDefault: 110 * KiB,
  /** What a dictionary is trained on: pieces of this size, and their number. */
  samplePieceSize: 8 * KiB,
  samplePieceCountMax: 1000,
  /** Chunks that are kept from the training, to measure a dictionary by. */
  heldOutSizeMax: 12 * MiB,
  heldOutCountMax: 256,
  /** Unique chunks of a pipe that wait until a dictionary is trained of them; more than this only by one batch. */
  dictionaryWindowDefault: 16 * MiB,
  dictionaryWindowMin: 1 * MiB,
  dictionaryWindowMax: 1024 * MiB,
  /** What is kept of pipes that a dictionary is trained on, all together, in units of this size. */
  reservoirSize: 32 * MiB,
  reservoirUnitSize: 512 * KiB,
  /** Sources of one dictionary, each of which is open. */
  trainingSourceCountMax: 1000,
  /** What a chunk that waits takes beside its bytes, about. */
  waitingChunkSize: 192,
  /** Prepared codecs that a thread keeps: with a dictionary and without, of two snapshots. */
  codecsKept: 4,
  /** `recover` checksums at most this many times the size of what it scans. */
  scanEffortMax: 64
} as const

/** Bounds on what a prediction reads and tries. */
export const predictLimits = {
  /** Bytes that are read: the whole source, or of a larger one so much, in regions of `regionSize` all over it. */
  readSizeMax: 2 * GiB,
  regionSize: 8 * MiB,
  /** What is looked at at a time. */
  batchSize: 2 * MiB,
  /** Chunks that are compressed for each way of cutting, beside those that are dropped again: up to 96 MiB. */
  sampleCountMax: 384
} as const

/** Bounds on what a server holds for its clients, whatever they send or leave unread. */
export const serveLimits = {
  /** Connections of one NBD or HTTP server; further ones are closed at once. */
  connectionCountMax: 128,
  /** Time for an NBD client to come from its first byte to an export, and for an HTTP client's headers. */
  handshakeMs: 10_000,
  /** Time for a client that said goodbye to read what it still asked for. */
  lingerMs: 30_000,
  /** Time that a server which was told to stop gives to requests in work. */
  stopMs: 500,
  /** Data of one NBD option; up to `optionSkipMax` it is passed over and refused, beyond it the client is. */
  optionSizeMax: 16 * KiB,
  optionSkipMax: 1 * MiB,
  /** Bytes of requests that a connection takes in before it lets the client wait. */
  inputSize: 64 * KiB,
  /** Largest NBD request, as told to clients. */
  requestSizeMax: 32 * MiB,
  /** A longer read is answered in pieces of this size. */
  pieceSize: 128 * KiB,
  /** An HTTP answer has two of these in work. */
  httpPieceSize: 128 * KiB,
  /** Time for a client to take one. */
  httpTakeMs: 120_000,
  /** Requests of one HTTP connection that wait for their turn; a client that sends more is cut off. */
  httpWaitingMax: 16,
  /** A read that must be answered in one piece may be this long. */
  wholeReadSizeMax: 1 * MiB,
  /** Bytes that one connection may ask for before the others get a turn, though all of it be at hand. */
  turnSize: 1 * MiB,
  /** After its last reply a server looks out for the next request so long before it sleeps. */
  pollMs: 0.05,
  /** Requests of one connection in work or unsent. */
  requestCountMax: 128,
  /** Bytes in work or unsent of one connection: its share of `unsentSize`, but within these two. */
  connectionSizeMin: 128 * KiB,
  connectionSizeMax: 2 * MiB,
  unsentSize: 8 * MiB,
  /** Free reply buffers kept for reuse. */
  replyBuffersKept: 8 * MiB,
  /** Extents in one NBD block status reply. */
  extentCountMax: 1024,
  /** Chunks that one block status request looks at. */
  extentChunkCountMax: 64 * KiB
} as const
