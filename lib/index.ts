/** Build snapshots and read them. The stages themselves are in `hexz/transforms`. */
export { build, type BuildOptions, type SourceLike } from './api.js'
export { buildStreams, type PipelineOptions, type StreamSource } from './build.js'
export { extract, type ExtractOptions, type ExtractResult } from './extract.js'
export { predict, type Prediction, type PredictOptions } from './predict.js'
export type { PredictedBuild } from './prediction/estimate.js'
export { train, type TrainOptions } from './train.js'
export type { Dictionary } from './compression/dictionary.js'
export {
  openSnapshot,
  type Extent,
  type OpenOptions,
  type RangeOptions,
  type Snapshot
} from './reader/open-snapshot.js'
export type { Credentials } from './crypto/unlock.js'
export type { Locks } from './crypto/slots.js'
export { addKey, listKeys, removeKey, type ChangeOptions, type KeyInfo, type NewKey } from './keys.js'
export { backupKeys, restoreKeys, type RestoreOptions } from './key-backup.js'
export type { ScryptCost } from './crypto/scrypt.js'
export { openFileBytes, type ByteSource } from './reader/byte-source.js'
export type { HttpOptions } from './reader/http-retry.js'
export { openHttpBytes } from './reader/http-source.js'
export { diffStreams, type DiffOptions } from './reader/diff.js'
export type { IndexedPiece } from './reader/entries.js'
export type { Range } from './reader/ranges.js'
export type { Run } from './reader/runs.js'
export { verifySnapshot, type VerifyOptions, type VerifyResult } from './reader/verify.js'
export { recoverStream, type RecoverOptions, type RecoverResult } from './reader/recover.js'
export { serve, type ServeOptions, type Serving } from './serve/serve.js'
export type { Address } from './serve/address.js'
export { profiles, type Profile, type ProfileName, type SettingsOptions } from './profiles.js'
export type { Header } from './format/header.js'
export type { StreamSummary } from './format/index-root.js'
export type { SnapshotTotals } from './format/index-writer.js'
export { collectCodecGarbage } from './workers/collect.js'
export { formatLimits, memoryLimits } from './limits.js'
export {
  CorruptError,
  HexzError,
  KeyError,
  LimitError,
  SourceError,
  TargetError,
  UnsupportedError,
  UsageError,
  exitCodes,
  type ErrorCode,
  type ErrorDetails
} from './errors.js'
