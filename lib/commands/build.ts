import { buildStreams, type PipelineOptions, type StreamSource } from '../build.js'
import type { DictionaryOutcome } from '../compression/dictionary.js'
import { wipe } from '../crypto/sealing.js'
import { UsageError } from '../errors.js'
import { resolveDictionary, resolveSettings, type Settings } from '../profiles.js'
import { commandSource } from '../source/command-source.js'
import { refuseContainer } from '../source/container.js'
import type { Source } from '../source/source.js'
import type { Target } from '../target/target.js'
import type { Timings } from '../timings.js'
import { dedupCapacity } from '../../transforms/dedup-filter.js'
import { buildFlags, buildPlaces, packFlags, parsePipeline, profileNotes } from './build-flags.js'
import { isSet, type Arguments, type Command, type CommandContext } from './command.js'
import { dictionaryPath, readDictionaryFlag } from './dictionary.js'
import { checkOutput, openOutput } from './open-output.js'
import { openInput, sizeOption, textFlag } from './options.js'
import { readLocks } from './passphrase.js'
import { jsonText } from './printable.js'
import { createProgress, parseProgressMode } from './progress.js'
import { buildJson, describeBuild, peakMemory, sumStreams } from './report.js'

/** A profile, applied. */
export const build: Command = {
  name: 'build',
  summary: 'make a snapshot of a disk image, a device or a stream',
  usage: [
    'SOURCE [-o TARGET]',
    '- > out.st',
    '--source disk.img --output snapshot.st --profile eda --cdc --memory ram.bin'
  ],
  places: buildPlaces,
  flags: buildFlags,
  notes: profileNotes,
  run
}

/** The same pipeline with every knob. */
export const pack: Command = {
  name: 'pack',
  summary: 'make a snapshot with settings of your own',
  usage: ['SOURCE [-o TARGET] [--compression zstd --level 9 --block-size 256K]'],
  places: buildPlaces,
  flags: { ...buildFlags, ...packFlags },
  notes: profileNotes,
  run
}

/** How the stream `disk` is opened. @throws UsageError when nothing names it */
function chooseSource(path: string | undefined, command: string | undefined): () => Promise<Source> | Source {
  if (command !== undefined) return () => commandSource(command)
  if (path === undefined)
    throw new UsageError('no source is named; give a file, a device, or - for standard input')
  return () => openInput(path)
}

function parseFormat(text: string | undefined): 'raw' | undefined {
  if (text === undefined || text === 'raw') return text
  throw new UsageError(`--format ${text} is unknown; raw stores an image file as it is`)
}

/** Everything that can be wrong with the words is told before anything is opened. */
async function run(args: Arguments, { signal }: CommandContext): Promise<void> {
  const [sourcePath, targetPath = '-'] = args.places
  const openDisk = chooseSource(sourcePath, textFlag(args, 'fromCommand'))
  const memoryPath = textFlag(args, 'memory')
  const parsed = parsePipeline(args)
  const settings = resolveSettings(parsed)
  const format = parseFormat(textFlag(args, 'format'))
  const output = {
    force: isSet(args, 'force'),
    content: 'snapshot' as const,
    sources: [sourcePath, memoryPath, dictionaryPath(args)],
    signal
  }
  const options: PipelineOptions = { ...parsed, ...(await readDictionaryFlag(args)), signal }
  resolveDictionary(options, settings)
  const mode = parseProgressMode(textFlag(args, 'progress'))
  const allowEmpty = isSet(args, 'allowEmpty')
  const expectSize = sizeOption(args, 'expectSize', 'expectSize')
  await checkOutput(targetPath, output)

  const locks = await readLocks(args, signal)
  const streams: StreamSource[] = []
  try {
    streams.push({ name: 'disk', source: await openDisk(), allowEmpty, ...expectSize })
    if (memoryPath !== undefined)
      streams.push({ name: 'memory', source: await openInput(memoryPath), allowEmpty })
    if (format !== 'raw') for (const { source } of streams) await refuseContainer(source)
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
    (target.isBlocking === true ? process.stderr : process.stdout).write(`${jsonText(buildJson(summary))}\n`)
}

function add(sum: number, size: number | undefined): number | undefined {
  return size === undefined ? undefined : sum + size
}
