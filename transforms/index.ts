/** The stages of a build, each usable in anyone's `pipeline()`. */
export { reader, type ReaderOptions } from './reader.js'
export { chunker, type ChunkerOptions } from './chunker.js'
export { dedupFilter, dedupCapacity, type DedupFilterOptions } from './dedup-filter.js'
export { dictionarySampler } from './dictionary-sampler.js'
export { compressor, type CompressorOptions } from './compressor.js'
export { indexer, type IndexerOptions } from './indexer.js'
export { encryptor } from './encryptor.js'
export { sink } from './sink.js'

export { openSource } from '../lib/source/file-source.js'
export { iterableSource } from '../lib/source/iterable-source.js'
export type { Source } from '../lib/source/source.js'
export {
  openTarget,
  openDescriptor,
  type FileTarget,
  type FileTargetOptions,
  type Target
} from '../lib/target/target.js'
export { createWorkerPool, inlinePool, type WorkerPool } from '../lib/workers/pool.js'
export { createSlabPool, type BatchSlabs, type Slab, type SlabPool } from '../lib/workers/slabs.js'
export * from '../lib/records.js'
