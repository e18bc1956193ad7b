import { UsageError } from '../errors.js'
import type { PipelineOptions } from '../build.js'
import type { CodecName } from '../format/frame.js'
import { memoryLimits } from '../limits.js'
import { profileNames, profiles, zstdLevelMax, type SettingsOptions } from '../profiles.js'
import { isSet, type Arguments, type Flags, type Place } from './command.js'
import { dictionaryWords } from './dictionary.js'
import { concurrencyOption, parseCount, parseSize, sizeNote, sizeOption, textFlag } from './options.js'
import { lockFlags } from './passphrase.js'
import { progressFlag } from './progress.js'

/** Flags of both `build` and `pack`. */
export const buildFlags = {
  source: {
    type: 'string',
    shortFlag: 's',
    value: 'FILE',
    help: 'disk image, device or other bytes; - is standard input'
  },
  output: {
    type: 'string',
    shortFlag: 'o',
    value: 'FILE',
    help: 'where the snapshot goes; default -, standard output'
  },
  profile: {
    type: 'string',
    shortFlag: 'p',
    value: 'NAME',
    help: `${profileNames.join(', ')}; default generic`
  },
  cdc: { type: 'boolean', help: 'content-defined chunking: finds repeats that moved' },
  dictionary: {
    type: 'string',
    value: 'WHEN',
    names: 'input',
    words: dictionaryWords,
    help: 'auto: train one and use it where it pays; always; off; or a FILE. For Zstd'
  },
  memory: {
    type: 'string',
    value: 'FILE',
    names: 'input',
    help: "also store this memory image, as stream 'memory'"
  },
  ...lockFlags,
  fromCommand: {
    type: 'string',
    value: 'COMMAND',
    help: 'the source is what this command of the shell writes; it must end with exit code 0'
  },
  format: { type: 'string', value: 'FORMAT', help: 'raw: store a qcow2 or other image file as it is' },
  allowEmpty: { type: 'boolean', help: 'a pipe may give no bytes at all' },
  force: { type: 'boolean', shortFlag: 'f', help: 'replace an existing target' },
  expectSize: { type: 'string', value: 'SIZE', help: 'fail unless the source has this many bytes' },
  json: { type: 'boolean', help: 'the final summary as JSON' },
  timings: { type: 'boolean', help: 'also say which stage the others waited for, and how long' },
  progress: progressFlag,
  concurrency: {
    type: 'string',
    value: 'N',
    help: 'worker threads, 1 to 64; default one per core. The result does not depend on it'
  },
  dedupMemory: {
    type: 'string',
    value: 'SIZE',
    help: 'memory to remember chunks in, 1M or more; default 512M'
  }
} as const satisfies Flags

export const buildPlaces: readonly Place[] = [
  { role: 'input', name: 'the source', flag: 'source', instead: 'fromCommand' },
  { role: 'target', name: 'the target', flag: 'output' }
]

export const profileNotes = [
  sizeNote,
  '',
  'Profiles:',
  ...profileNames.map((name) => {
    const { codec, level, chunkSize, purpose } = profiles[name]
    const codecText = codec === 'zstd' ? `Zstd ${level}` : 'LZ4'
    return `  ${name.padEnd(9)} ${codecText.padEnd(7)} ${`${chunkSize / 1024}K`.padEnd(5)} ${purpose}`
  })
].join('\n')

/** Those that only `pack` has: every knob of the pipeline. */
export const packFlags = {
  compression: { type: 'string', value: 'CODEC', help: "lz4, zstd or none; default the profile's" },
  level: { type: 'string', value: 'N', help: `Zstd level, 1 to ${zstdLevelMax}; default 3` },
  blockSize: { type: 'string', value: 'SIZE', help: 'size of a chunk, 512 to 4M; the average with --cdc' },
  minChunk: {
    type: 'string',
    value: 'SIZE',
    help: 'with --cdc: smallest chunk; default a quarter of the average'
  },
  avgChunk: { type: 'string', value: 'SIZE', help: 'with --cdc: average chunk; the same as --block-size' },
  maxChunk: { type: 'string', value: 'SIZE', help: 'with --cdc: largest chunk; default twice the average' },
  dictionaryWindow: {
    type: 'string',
    value: 'SIZE',
    help: 'of a pipe: bytes that are held to train a dictionary on, 1M to 1G; default 16M'
  }
} as const satisfies Flags

/** What the flags say of the pipeline, but for dictionary and locks, which are read from files. @throws UsageError */
export function parsePipeline(args: Arguments): PipelineOptions {
  const profile = textFlag(args, 'profile')
  const window = textFlag(args, 'dictionaryWindow')
  return {
    ...(profile === undefined ? {} : { profile }),
    cdc: isSet(args, 'cdc'),
    ...packSettings(args),
    ...concurrencyOption(args),
    dedupMemory: parseDedupMemory(textFlag(args, 'dedupMemory')),
    ...(window === undefined ? {} : { dictionaryWindow: parseWindow(window) })
  }
}

function packSettings(args: Arguments): SettingsOptions {
  const compression = textFlag(args, 'compression')
  const level = textFlag(args, 'level')
  if (textFlag(args, 'avgChunk') !== undefined && !isSet(args, 'cdc'))
    throw new UsageError('--avg-chunk applies to content-defined chunking; add --cdc, or use --block-size')
  if (textFlag(args, 'avgChunk') !== undefined && textFlag(args, 'blockSize') !== undefined)
    throw new UsageError('--avg-chunk and --block-size are the same setting; give one')
  return {
    ...(compression === undefined ? {} : { codec: parseCodec(compression) }),
    ...(level === undefined ? {} : { level: parseCount(level, '--level', 1, zstdLevelMax) }),
    ...sizeOption(args, 'blockSize', 'chunkSize'),
    ...sizeOption(args, 'avgChunk', 'chunkSize'),
    ...sizeOption(args, 'minChunk', 'chunkSizeMin'),
    ...sizeOption(args, 'maxChunk', 'chunkSizeMax')
  }
}

function parseCodec(text: string): CodecName {
  if (text === 'none') return 'raw'
  if (text === 'lz4' || text === 'zstd') return text
  throw new UsageError(`--compression ${text} is unknown; use lz4, zstd or none`)
}

function parseWindow(text: string): number {
  const size = parseSize(text, '--dictionary-window')
  const { dictionaryWindowMin, dictionaryWindowMax } = memoryLimits
  if (size < dictionaryWindowMin || size > dictionaryWindowMax)
    throw new UsageError(`--dictionary-window ${text} is out of range: it is 1M to 1G`)
  return size
}

function parseDedupMemory(text: string | undefined): number {
  if (text === undefined) return memoryLimits.dedupMemoryDefault
  const size = parseSize(text, '--dedup-memory')
  if (size < memoryLimits.dedupMemoryMin)
    throw new UsageError(`--dedup-memory ${text} is too small; the least is 1M`)
  return size
}
