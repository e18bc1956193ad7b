import { UsageError } from '../errors.js'
import { chooseStream, writeRange } from '../extract.js'
import type { RangeOptions, Snapshot } from '../reader/open-snapshot.js'
import { mixedTarget, restoreInPlace } from '../reader/restore-in-place.js'
import { defaultWorkerCount } from '../workers/pool.js'
import { isSet, type Arguments, type Command } from './command.js'
import { openSnapshotBytes } from './open-input.js'
import { checkOutput, openInPlace, openOutput, type OutputOptions } from './open-output.js'
import { concurrencyOption, sizeNote, sizeOption, textFlag } from './options.js'
import { openWithCredentials } from './credentials.js'
import { openFlags } from './passphrase.js'
import { createProgress, formatSize, parseProgressMode, progressFlag, type Progress } from './progress.js'
import { jsonText, printable, shown } from './printable.js'
import { count, peakMemory } from './report.js'

/** Snapshot to file, device or pipe. */
export const extract: Command = {
  name: 'extract',
  summary: 'get the bytes back, whole or a range',
  usage: ['SNAPSHOT [-o TARGET]', '- < in.st > disk.img', 'SNAPSHOT --offset 1G --length 4K > range.bin'],
  places: [
    { role: 'input', name: 'the snapshot', flag: 'source' },
    { role: 'target', name: 'the target', flag: 'output' }
  ],
  flags: {
    source: { type: 'string', shortFlag: 's', value: 'FILE', help: 'the snapshot; - is standard input' },
    output: {
      type: 'string',
      shortFlag: 'o',
      value: 'FILE',
      help: 'where the bytes go; default -, standard output'
    },
    stream: { type: 'string', value: 'NAME', help: 'which stream; default the first, disk' },
    offset: { type: 'string', value: 'SIZE', help: 'first byte; default 0' },
    length: { type: 'string', value: 'SIZE', help: 'how many bytes; default to the end' },
    inPlace: {
      type: 'boolean',
      help: 'change a file or device that is there, and write only what differs'
    },
    force: { type: 'boolean', shortFlag: 'f', help: 'replace an existing target, or write to a device' },
    forceInUse: { type: 'boolean', help: 'write to a device although it is mounted or otherwise in use' },
    ...openFlags,
    json: { type: 'boolean', help: 'the final summary as JSON' },
    progress: progressFlag,
    concurrency: { type: 'string', value: 'N', help: 'threads that decode, 1 to 64; default one per core' }
  },
  notes: sizeNote,
  async run(args, { signal }) {
    const [sourcePath, targetPath = '-'] = args.places
    if (sourcePath === undefined)
      throw new UsageError('no snapshot is named; give a file, or - for standard input')
    const mode = parseProgressMode(textFlag(args, 'progress'))
    const { offset = 0 } = sizeOption(args, 'offset', 'offset')
    const { length } = sizeOption(args, 'length', 'length')
    const { concurrency = defaultWorkerCount() } = concurrencyOption(args)
    const isInPlace = isSet(args, 'inPlace')
    if (isInPlace && targetPath === '-')
      throw new UsageError('--in-place changes a file or device; name it with -o')
    const output = {
      force: isSet(args, 'force') || isInPlace,
      forceInUse: isSet(args, 'forceInUse'),
      sources: [sourcePath],
      signal
    }
    await checkOutput(targetPath, output)

    const source = await openSnapshotBytes(sourcePath, targetPath)
    const snapshot = await openWithCredentials(args, source, signal, { concurrency })
    try {
      const { name, size } = chooseStream(snapshot, textFlag(args, 'stream'))
      if (offset > size)
        throw new UsageError(
          `--offset ${offset} lies behind the end of stream ${name}, which has ${size} bytes`
        )
      const range = { start: offset, end: length === undefined ? size : Math.min(size, offset + length) }
      const progress = createProgress(mode, 'extracted', range.end - range.start)
      const start = performance.now()
      const job = { snapshot, stream: name, range, progress, signal }
      try {
        const done = await (isInPlace
          ? changeInPlace(job, targetPath, output)
          : make(job, targetPath, output))
        progress.end()
        report(args, { ...job, ...done, elapsedMs: performance.now() - start })
      } finally {
        progress.end()
      }
    } finally {
      await snapshot.close()
    }
  }
}

/** What is to be extracted. */
interface Job {
  readonly snapshot: Snapshot
  readonly stream: string
  readonly range: Required<RangeOptions>
  readonly progress: Progress
  readonly signal: AbortSignal
}

interface Done {
  readonly target: string
  /** Whether it is standard output, so that the summary has to go elsewhere. */
  readonly isOutput: boolean
  /** In place: bytes that differed. */
  readonly writtenSize?: number
}

async function make(job: Job, path: string, output: OutputOptions): Promise<Done> {
  const { snapshot, stream, range, progress, signal } = job
  const target = await openOutput(path, output)
  const onProgress = (size: number): void => progress.update(size)
  await writeRange(snapshot, target, { ...range, stream, signal, onProgress })
  return { target: target.name, isOutput: target.isBlocking === true }
}

async function changeInPlace(
  { snapshot, stream, range, progress, signal }: Job,
  path: string,
  output: OutputOptions
): Promise<Done> {
  const target = await openInPlace(path, output)
  const state = { isMixed: false }
  try {
    const { writtenSize } = await restoreInPlace(snapshot, target, {
      stream,
      ...range,
      signal,
      onChange: () => (state.isMixed = true),
      onProgress: (size) => progress.update(size)
    })
    state.isMixed = false
    return { target: path, isOutput: false, writtenSize }
  } finally {
    // Another error says so itself; a signal ends hexz with a line that does not.
    if (state.isMixed && signal.aborted) process.stderr.write(`hexz: ${printable(mixedTarget(path))}\n`)
    await target.close()
  }
}

interface Outcome extends Omit<Job, 'progress' | 'signal'>, Done {
  readonly elapsedMs: number
}

function report(
  args: Arguments,
  { snapshot, stream, range, target, isOutput, writtenSize, elapsedMs }: Outcome
): void {
  const size = range.end - range.start
  const { fetched } = snapshot
  if (isSet(args, 'json')) {
    const summary = {
      target,
      stream,
      offset: range.start,
      size,
      writtenSize,
      fetchedSize: fetched?.size,
      requestCount: fetched?.requestCount,
      elapsedMs: Math.round(elapsedMs),
      peakMemory: peakMemory()
    }
    ;(isOutput ? process.stderr : process.stdout).write(`${jsonText(summary)}\n`)
    return
  }
  const others = snapshot.streams.map((one) => one.name).filter((name) => name !== stream)
  const rate = elapsedMs > 0 ? `, ${formatSize(Math.round((size / elapsedMs) * 1000))}/s` : ''
  const parts = [
    shown`hexz: ${target}: ${formatSize(size)} of stream ${stream}, ${(elapsedMs / 1000).toFixed(1)} s${rate}`,
    ...(writtenSize === undefined
      ? []
      : [`${formatSize(writtenSize)} (${writtenSize} bytes) differed and were written`]),
    ...(fetched === undefined
      ? []
      : [
          `${formatSize(fetched.size)} (${fetched.size} bytes) fetched in ${count(fetched.requestCount, 'request')}`
        ]),
    ...(others.length === 0
      ? []
      : [`not extracted: ${others.map((name) => shown`--stream ${name}`).join(', ')}`])
  ]
  process.stderr.write(`${parts.join('; ')}\n`)
}
