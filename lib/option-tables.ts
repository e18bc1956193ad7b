import type { BuildOptions } from './api.js'
import type { PipelineOptions, StreamSource } from './build.js'
import {
  bytes,
  callback,
  count,
  checkOptions,
  checkValue,
  either,
  flag,
  having,
  iterable,
  listOf,
  number,
  object,
  oneOf,
  privateKey,
  publicKey,
  signal,
  text,
  textOrBytes,
  type OptionTable
} from './check-options.js'
import type { ScryptCost } from './crypto/scrypt.js'
import type { Locks } from './crypto/slots.js'
import type { Credentials } from './crypto/unlock.js'
import { UsageError } from './errors.js'
import type { ExtractOptions } from './extract.js'
import { codecNames } from './format/frame.js'
import type { PredictOptions, PredictSettings } from './predict.js'
import type { DictionaryOptions, SettingsOptions } from './profiles.js'
import type { DiffOptions } from './reader/diff.js'
import type { HttpOptions } from './reader/http-retry.js'
import type { OpenOptions, RangeOptions } from './reader/open-snapshot.js'
import type { RecoverOptions } from './reader/recover.js'
import type { VerifyOptions } from './reader/verify.js'
import type { Address } from './serve/address.js'
import type { ServeOptions } from './serve/serve.js'
import type { TrainOptions, TrainSettings } from './train.js'

/** What the library's functions take, name by name. Ranges are checked by whoever uses a value. */

const pathOrBytes = either(text, iterable)
const byteSource = having('bytes that can be read at any offset', 'read', 'close')
const writable = having(
  'a path, or a Writable of node:stream; Writable.fromWeb() makes one of a web stream',
  'write',
  'end',
  'on',
  'destroy'
)

export const settingsTable: OptionTable<SettingsOptions> = {
  profile: text,
  cdc: flag,
  codec: oneOf(...codecNames),
  level: number,
  chunkSize: number,
  chunkSizeMin: number,
  chunkSizeMax: number
}

const dictionary: OptionTable<DictionaryOptions> = {
  dictionary: either(oneOf('auto', 'always', 'off'), bytes)
}

const scryptCost: OptionTable<ScryptCost> = { logN: number, r: number, p: number }
const locks: OptionTable<Locks> = {
  passphrase: textOrBytes,
  recipients: listOf(publicKey),
  scrypt: object
}

const pipeline: OptionTable<PipelineOptions> = {
  ...settingsTable,
  ...dictionary,
  concurrency: number,
  dedupMemory: number,
  dictionaryWindow: count(1),
  locks: object,
  signal,
  onProgress: callback,
  onDictionary: callback,
  onTimings: callback
}

const build: OptionTable<BuildOptions> = {
  ...pipeline,
  source: pathOrBytes,
  memory: pathOrBytes,
  target: either(text, writable),
  force: flag,
  expectSize: count(0),
  allowEmpty: flag,
  format: oneOf('raw')
}

const streamSource: OptionTable<StreamSource> = {
  name: text,
  source: having('a source, as openSource() gives', 'read', 'close'),
  expectSize: count(0),
  allowEmpty: flag
}

const credentials: OptionTable<Credentials> = {
  passphrase: textOrBytes,
  identity: privateKey,
  allowPlain: flag
}
const range: OptionTable<RangeOptions> = { start: number, end: number }
const open: OptionTable<OpenOptions> = { ...credentials, concurrency: number, cacheSize: number }
const extract: OptionTable<ExtractOptions> = {
  ...open,
  ...range,
  snapshot: either(text, byteSource),
  target: either(text, writable),
  stream: text,
  force: flag,
  forceInUse: flag,
  inPlace: flag,
  signal,
  onProgress: callback
}
const verify: OptionTable<VerifyOptions> = {
  ...credentials,
  quick: flag,
  concurrency: number,
  signal,
  onProgress: callback
}
const recover: OptionTable<RecoverOptions> = {
  ...credentials,
  stream: number,
  concurrency: number,
  signal,
  onProgress: callback
}
const diff: OptionTable<DiffOptions> = { chunksOnly: flag, signal }
const address = either(
  { what: "{ kind: 'unix', path }", holds: (value) => isAddress(value, 'unix') },
  { what: "{ kind: 'tcp', host, port }", holds: (value) => isAddress(value, 'tcp') }
)
const serve: OptionTable<ServeOptions> = { nbd: address, http: address, onProblem: callback }
const http: OptionTable<HttpOptions> = {
  tryCount: number,
  retryDelayMs: number,
  timeoutMs: number,
  headers: object
}
const predictSettings: OptionTable<PredictSettings> = { concurrency: number, signal }
const predict: OptionTable<PredictOptions> = { ...predictSettings, source: pathOrBytes }
const trainSettings: OptionTable<TrainSettings> = { size: number, level: number, concurrency: number, signal }
const train: OptionTable<TrainOptions> = { ...trainSettings, sources: listOf(pathOrBytes) }

function isAddress(value: unknown, kind: Address['kind']): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { path, host, port, ...rest } = value as Record<string, unknown>
  if (rest.kind !== kind) return false
  return kind === 'unix'
    ? typeof path === 'string'
    : typeof host === 'string' && Number.isInteger(port) && (port as number) >= 0 && (port as number) < 65_536
}

/** @throws UsageError, in all of these */
export function checkBuild(options: unknown): asserts options is BuildOptions {
  checkOptions('build()', options, build)
  const { source, target, locks: given } = options as Partial<BuildOptions>
  if (source === undefined)
    throw new UsageError('build() needs a source: a path, or an async iterable of bytes')
  if (target === undefined) throw new UsageError('build() needs a target: a path, or a Writable')
  checkLocks(given)
}

export function checkExtract(options: unknown): asserts options is ExtractOptions {
  checkOptions('extract()', options, extract)
  const { snapshot, target, inPlace } = options as Partial<ExtractOptions>
  if (snapshot === undefined) throw new UsageError('extract() needs a snapshot: a path, a URL, or bytes')
  if (target === undefined) throw new UsageError('extract() needs a target: a path, or a Writable')
  if (inPlace === true && typeof target !== 'string')
    throw new UsageError('what is changed in place is named by a path')
}

export function checkStreams(streams: unknown, target: unknown): void {
  checkValue('the first argument of buildStreams()', streams, listOf(object))
  for (const stream of streams as readonly unknown[]) checkOptions('a stream', stream, streamSource)
  const isTarget = having('a target, as openTarget() gives', 'write', 'commit', 'discard')
  checkValue('the target of buildStreams()', target, isTarget)
}

export function checkPipeline(options: unknown): void {
  checkOptions('buildStreams()', options, pipeline)
  checkLocks((options as PipelineOptions).locks)
}

export function checkLocks(given: unknown): void {
  if (given === undefined) return
  checkOptions('locks', given, locks)
  const { scrypt } = given as Locks
  if (scrypt !== undefined) checkOptions('scrypt', scrypt, scryptCost)
}

export function checkOpen(from: unknown, options: unknown): void {
  checkValue('what openSnapshot() opens', from, either(text, byteSource))
  checkOptions('openSnapshot()', options, open)
}

export function checkVerify(source: unknown, options: unknown): void {
  checkValue('what verifySnapshot() checks', source, byteSource)
  checkOptions('verifySnapshot()', options, verify)
}

export function checkRecover(source: unknown, target: unknown, options: unknown): void {
  checkValue('what recoverStream() reads', source, byteSource)
  checkValue('the target of recoverStream()', target, having('what has writeAt()', 'writeAt'))
  checkOptions('recoverStream()', options, recover)
}

const snapshot = having('an open snapshot', 'read', 'pieces', 'runs', 'close')

export function checkDiff(one: unknown, other: unknown, stream: unknown, options: unknown): void {
  for (const given of [one, other]) checkValue('what diffStreams() compares', given, snapshot)
  checkValue('the stream of diffStreams()', stream, text)
  checkOptions('diffStreams()', options, diff)
}

export function checkServe(given: unknown, options: unknown): void {
  checkValue('what serve() offers', given, snapshot)
  checkOptions('serve()', options, serve)
}

export function checkHttp(options: unknown): void {
  checkOptions('openHttpBytes()', options, http)
}

export function checkPredict(options: unknown): asserts options is PredictOptions {
  checkOptions('predict()', options, predict)
  if ((options as Partial<PredictOptions>).source === undefined)
    throw new UsageError('predict() needs a source: a path, or an async iterable of bytes')
}

export function checkTrain(options: unknown): asserts options is TrainOptions {
  checkOptions('train()', options, train)
  if ((options as Partial<TrainOptions>).sources === undefined) throw new UsageError('train() needs sources')
}

/** What a method of a snapshot takes beside numbers, which it checks itself. */
export function checkStreamRange(stream: unknown, options: unknown): void {
  checkValue('the stream', stream, text)
  if (options !== undefined) checkOptions('a range', options, range)
}
