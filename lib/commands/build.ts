import { buildStreams, type PipelineOptions, type StreamSource } from '../build.js'
import { loadIndexCodec } from '../compression/codecs.js'
import type { DictionaryOutcome } from '../compression/dictionary.js'
import { UsageError } from '../errors.js'
import type { CodecName } from '../format/frame.js'
import { memoryLimits } from '../limits.js'
import {
  profileNames,
  profiles,
  resolveDictionary,
  resolveSettings,
  zstdLevelMax,
  type Settings,
  type SettingsOptions
} from '../profiles.js'
import type { Target } from '../target/target.js'
import type { Timings } from '../timings.js'
import { dedupCapacity } from '../../transforms/dedup-filter.js'
import { wipe } from '../crypto/sealing.js'
import { lockFlags, readLocks } from './passphrase.js'
import { isSet, type Arguments, type Command, type CommandContext, type Flags } from './command.js'
import { dictionaryPath, readDictionaryFlag } from './dictionary.js'
import {
  concurrencyOption,
  openInput,
  parseCount,
  parseSize,
  sizeNote,
  sizeOption,
  takePlaces,
  textFlag
} from './options.js'
import { checkOutput, openOutput } from './open-output.js'
import { createProgress, parseProgressMode, progressFlag } from './progress.js'
import { buildJson, describeBuild, peakMemory, sumStreams } from './report.js'

const commonFlags = {
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
    help: 'auto: train one and use it where it pays; always; off; or a FILE. For Zstd'
  },
  memory: { type: 'string', value: 'FILE', help: "also store this memory image, as stream 'memory'" },
  ...lockFlags,
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

const profileNotes = [
  sizeNote,
  '',
  'Profiles:',
  ...profileNames.map((name) => {
    const { codec, level, chunkSize, purpose } = profiles[name]
    const codecText = codec === 'zstd' ? `Zstd ${level}` : 'LZ4'
    return `  ${name.padEnd(9)} ${codecText.padEnd(7)} ${`${chunkSize / 1024}K`.padEnd(5)} ${purpose}`
  })
].join('\n')

/** A profile, applied. */
export const build: Command = {
  name: 'build',
  summary: 'make a snapshot of a disk image, a device or a stream',
  usage: [
    'SOURCE [-o TARGET]',
    '- > out.st',
    '--source disk.img --output snapshot.st --profile eda --cdc --memory ram.bin'
  ],
  flags: commonFlags,
  notes: profileNotes,
  run: (args, context) => run(args, context, {})
}

/** The same pipeline with every knob. */
export const pack: Command = {
  name: 'pack',
  summary: 'make a snapshot with settings of your own',
  usage: ['SOURCE [-o TARGET] [--compression zstd --level 9 --block-size 256K]'],
  flags: {
    ...commonFlags,
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
  },
  notes: profileNotes,
  run: (args, context) => run(args, context, packSettings(args))
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

/** Everything that can be wrong with the words is told before anything is opened. */
async function run(args: Arguments, { signal }: CommandContext, knobs: SettingsOptions): Promise<void> {
  const [sourcePath, targetPath = '-'] = takePlaces(args, [
    textFlag(args, 'source'),
    textFlag(args, 'output')
  ])
  if (sourcePath === undefined)
    throw new UsageError('no source is named; give a file, a device, or - for standard input')
  const memoryPath = textFlag(args, 'memory')
  if (sourcePath === '-' && memoryPath === '-')
    throw new UsageError('standard input cannot be both the source and the memory image')
  const profile = textFlag(args, 'profile')
  const window = textFlag(args, 'dictionaryWindow')
  const options: PipelineOptions = {
    ...(profile === undefined ? {} : { profile }),
    cdc: isSet(args, 'cdc'),
    ...knobs,
    ...concurrencyOption(args),
    dedupMemory: parseDedupMemory(textFlag(args, 'dedupMemory')),
    ...(window === undefined ? {} : { dictionaryWindow: parseWindow(window) }),
    ...(await readDictionaryFlag(args)),
    signal
  }
  const settings = resolveSettings(options)
  resolveDictionary(options, settings)
  const mode = parseProgressMode(textFlag(args, 'progress'))
  const expectSize = sizeOption(args, 'expectSize', 'expectSize')
  const sources = [sourcePath, memoryPath, dictionaryPath(args)]
  const output = { force: isSet(args, 'force'), content: 'snapshot' as const, sources, signal }
  await checkOutput(targetPath, output)

  const locks = await readLocks(args)
  const streams: StreamSource[] = []
  try {
    streams.push({ name: 'disk', source: await openInput(sourcePath), ...expectSize })
    if (memoryPath !== undefined) streams.push({ name: 'memory', source: await openInput(memoryPath) })
    loadIndexCodec()
    const target = await openOutput(targetPath, output)
    await report(args, settings, streams, target, { ...options, locks, mode })
  } catch (error) {
    // The build has closed them, unless it was not come to.
    for (const { source } of streams) await source.close().catch(() => undefined)
    throw error
  } finally {
    wipe(locks?.passphrase)
  }
}

type RunOptions = PipelineOptions & { readonly mode: ReturnType<typeof parseProgressMode> }

async function report(
  args: Arguments,
  settings: Settings,
  streams: readonly StreamSource[],
  target: Target,
  { mode, ...options }: RunOptions
): Promise<void> {
  const size = streams.reduce<number | undefined>(
    (sum, { source, expectSize }) => (sum === undefined ? undefined : add(sum, expectSize ?? source.size)),
    0
  )
  const progress = createProgress(mode, 'read', size)
  const start = performance.now()
  let timings: Timings | undefined
  let outcome: DictionaryOutcome | undefined
  const totals = await buildStreams(streams, target, {
    ...options,
    onDictionary: (found) => (outcome = found),
    onTimings: (taken) => (timings = isSet(args, 'timings') ? taken : undefined),
    onProgress: (sofar) => progress.update(sumStreams(sofar.streams).size, sofar.fileSize)
  }).finally(() => progress.end())
  const forgottenCount = Math.max(
    0,
    sumStreams(totals.streams).blockCount - dedupCapacity(options.dedupMemory)
  )
  const summary = {
    target: target.name,
    profile: settings.profile,
    totals,
    outcome,
    forgottenCount,
    elapsedMs: performance.now() - start,
    peakMemory: peakMemory(),
    timings
  }
  if (!isSet(args, 'json')) process.stderr.write(`${describeBuild(summary)}\n`)
  else
    (target.isBlocking === true ? process.stderr : process.stdout).write(
      `${JSON.stringify(buildJson(summary))}\n`
    )
}

function add(sum: number, size: number | undefined): number | undefined {
  return size === undefined ? undefined : sum + size
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
