import { UsageError } from '../errors.js'
import type { RangeOptions, Snapshot } from '../reader/open-snapshot.js'
import type { FileTarget, Target } from '../target/target.js'
import { defaultWorkerCount } from '../workers/pool.js'
import { isSet, type Arguments, type Command } from './command.js'
import { openSnapshotBytes } from './open-input.js'
import { checkOutput, openOutput } from './open-output.js'
import { concurrencyOption, sizeNote, sizeOption, takePlaces, textFlag } from './options.js'
import { openFlags, openWithCredentials } from './passphrase.js'
import { createProgress, formatSize, parseProgressMode, progressFlag, type Progress } from './progress.js'
import { peakMemory } from './report.js'

/** Snapshot to file, device or pipe. */
export const extract: Command = {
  name: 'extract',
  summary: 'get the bytes back, whole or a range',
  usage: ['SNAPSHOT [-o TARGET]', '- < in.st > disk.img', 'SNAPSHOT --offset 1G --length 4K > range.bin'],
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
    force: { type: 'boolean', shortFlag: 'f', help: 'replace an existing target, or write to a device' },
    ...openFlags,
    json: { type: 'boolean', help: 'the final summary as JSON' },
    progress: progressFlag,
    concurrency: { type: 'string', value: 'N', help: 'worker threads, 1 to 64; default one per core' }
  },
  notes: sizeNote,
  async run(args, { signal }) {
    const [sourcePath, targetPath = '-'] = takePlaces(args, [
      textFlag(args, 'source'),
      textFlag(args, 'output')
    ])
    if (sourcePath === undefined)
      throw new UsageError('no snapshot is named; give a file, or - for standard input')
    const mode = parseProgressMode(textFlag(args, 'progress'))
    const { offset = 0 } = sizeOption(args, 'offset', 'offset')
    const { length } = sizeOption(args, 'length', 'length')
    const { concurrency = defaultWorkerCount() } = concurrencyOption(args)
    const output = { force: isSet(args, 'force'), sources: [sourcePath] }
    await checkOutput(targetPath, output)

    const source = await openSnapshotBytes(sourcePath, targetPath)
    const snapshot = await openWithCredentials(args, source, { concurrency })
    try {
      const { name, size } = chooseStream(snapshot, textFlag(args, 'stream'))
      if (offset > size)
        throw new UsageError(
          `--offset ${offset} lies behind the end of stream ${name}, which has ${size} bytes`
        )
      const range = { start: offset, end: length === undefined ? size : Math.min(size, offset + length) }
      const target = await openOutput(targetPath, output)
      const progress = createProgress(mode, 'extracted', range.end - range.start)
      const start = performance.now()
      try {
        await copy(snapshot, name, range, target, progress, signal)
        await target.commit()
      } finally {
        progress.end()
        await target.discard()
      }
      report(args, { snapshot, stream: name, range, target, elapsedMs: performance.now() - start })
    } finally {
      await snapshot.close()
    }
  }
}

function chooseStream(
  { streams, name }: Snapshot,
  wanted: string | undefined
): { name: string; size: number } {
  const stream = wanted === undefined ? streams[0] : streams.find((one) => one.name === wanted)
  if (stream === undefined)
    throw new UsageError(
      `${name} has no stream "${wanted ?? ''}"; it has ${streams.map((one) => one.name).join(', ')}`
    )
  return stream
}

/** Checked bytes to the target, in order; holes stay holes where the target can have them. */
async function copy(
  snapshot: Snapshot,
  stream: string,
  range: Required<RangeOptions>,
  target: Target | FileTarget,
  progress: Progress,
  signal: AbortSignal
): Promise<void> {
  const file = 'writeAt' in target && target.isSeekable ? target : undefined
  for await (const run of snapshot.runs(stream, range)) {
    signal.throwIfAborted()
    const at = run.offset - range.start
    if (run.kind === 'hole') {
      if (file?.isBlank !== true)
        await writeZeros(file ?? target, file === undefined ? undefined : at, run.size, signal)
    } else {
      await (file === undefined ? target.write([run.bytes]) : file.writeAt(at, run.bytes))
      run.release()
    }
    progress.update(at + (run.kind === 'hole' ? run.size : run.bytes.length))
  }
  if (file?.isBlank === true) await file.setSize(range.end - range.start)
}

const zeros = Buffer.alloc(1024 * 1024)

async function writeZeros(
  target: Target | FileTarget,
  offset: number | undefined,
  size: number,
  signal: AbortSignal
): Promise<void> {
  for (let done = 0; done < size; done += zeros.length) {
    signal.throwIfAborted()
    const piece = zeros.subarray(0, size - done)
    await (offset !== undefined && 'writeAt' in target
      ? target.writeAt(offset + done, piece)
      : target.write([piece]))
  }
}

interface Outcome {
  readonly snapshot: Snapshot
  readonly stream: string
  readonly range: Required<RangeOptions>
  readonly target: Target
  readonly elapsedMs: number
}

function report(args: Arguments, { snapshot, stream, range, target, elapsedMs }: Outcome): void {
  const size = range.end - range.start
  const others = snapshot.streams.map((one) => one.name).filter((name) => name !== stream)
  if (isSet(args, 'json')) {
    const summary = {
      target: target.name,
      stream,
      offset: range.start,
      size,
      elapsedMs: Math.round(elapsedMs),
      peakMemory: peakMemory()
    }
    ;(target.isBlocking === true ? process.stderr : process.stdout).write(`${JSON.stringify(summary)}\n`)
    return
  }
  const rate = elapsedMs > 0 ? `, ${formatSize(Math.round((size / elapsedMs) * 1000))}/s` : ''
  const rest =
    others.length === 0 ? '' : `; not extracted: ${others.map((name) => `--stream ${name}`).join(', ')}`
  process.stderr.write(
    `hexz: ${target.name}: ${formatSize(size)} of stream ${stream}, ${(elapsedMs / 1000).toFixed(1)} s${rate}${rest}\n`
  )
}
