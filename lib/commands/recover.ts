import { CorruptError, UsageError } from '../errors.js'
import { readHeader } from '../reader/structure.js'
import { recoverStream, type RecoverResult } from '../reader/recover.js'
import type { Range } from '../reader/ranges.js'
import type { ByteSource } from '../reader/byte-source.js'
import { isSet, type Arguments, type Command } from './command.js'
import { openSnapshotBytes } from './open-input.js'
import { checkOutput, openOutput } from './open-output.js'
import { textFlag } from './options.js'
import { withCredentials } from './credentials.js'
import { openFlags } from './passphrase.js'
import { jsonText, shown } from './printable.js'
import { createProgress, formatSize, parseProgressMode, progressFlag } from './progress.js'

/** What can be trusted of a snapshot that was cut off or damaged. */
export const recover: Command = {
  name: 'recover',
  summary: 'get back what can be trusted of a damaged or incomplete snapshot',
  usage: ['SNAPSHOT -o TARGET'],
  places: [
    { role: 'input', name: 'the snapshot' },
    { role: 'target', name: 'the target', flag: 'output' }
  ],
  flags: {
    output: {
      type: 'string',
      shortFlag: 'o',
      value: 'FILE',
      help: 'the recovered stream; ranges that are lost are left as holes, and named'
    },
    stream: { type: 'string', value: 'NAME', help: 'which stream; default the first, disk' },
    force: { type: 'boolean', shortFlag: 'f', help: 'replace an existing target' },
    ...openFlags,
    json: { type: 'boolean', help: 'the report as JSON on standard output' },
    progress: progressFlag
  },
  notes: 'Exits 0 when a target was written; whether anything is missing is in the report.',
  async run(args, { signal }) {
    const [sourcePath, targetPath] = args.places
    if (sourcePath === undefined)
      throw new UsageError('no snapshot is named; give a file, or - for standard input')
    if (targetPath === undefined || targetPath === '-')
      throw new UsageError('recover writes to a file; name it with -o')
    const mode = parseProgressMode(textFlag(args, 'progress'))
    const output = {
      force: isSet(args, 'force'),
      content: 'recovered' as const,
      sources: [sourcePath],
      signal
    }
    await checkOutput(targetPath, output)
    const source = await openSnapshotBytes(sourcePath, targetPath)
    const progress = createProgress(mode, 'searched', source.size)
    try {
      const stream = await streamNumber(source, textFlag(args, 'stream'))
      const target = await openOutput(targetPath, output)
      try {
        if (!('isBlank' in target && target.isBlank))
          throw new UsageError(`recover writes to a regular file, which ${targetPath} is not`)
        const result = await withCredentials(args, source, signal, (credentials) =>
          recoverStream(source, target, {
            ...credentials,
            stream,
            signal,
            onProgress: (size) => progress.update(size)
          })
        )
        const end = result.recovered.at(-1)?.end ?? 0
        if (end === 0 && !result.isComplete)
          throw new CorruptError('INCOMPLETE', `nothing could be recovered from ${source.name}`, {
            where: source.name
          })
        await target.setSize(result.streamSize ?? end)
        await target.commit()
        progress.end()
        report(args, source.name, targetPath, result)
      } finally {
        progress.end()
        await target.discard()
      }
    } finally {
      await source.close()
    }
  }
}

/** Streams are numbered as the header names them; should that be lost, as `build` makes them. */
async function streamNumber(source: ByteSource, wanted: string | undefined): Promise<number> {
  const names = await readHeader(source).then(
    ({ header }) => header.streams,
    (error: unknown) => {
      if (error instanceof CorruptError && error.code !== 'NOT_A_SNAPSHOT') return ['disk', 'memory']
      throw error
    }
  )
  const number = wanted === undefined ? 0 : names.indexOf(wanted)
  if (number === -1)
    throw new UsageError(`${source.name} has no stream "${wanted ?? ''}"; it has ${names.join(', ')}`)
  return number
}

/** Ranges named one by one; more are in the JSON report. */
const rangesShown = 20

function report(args: Arguments, name: string, target: string, result: RecoverResult): void {
  if (isSet(args, 'json')) {
    process.stdout.write(`${jsonText({ file: name, target, ...result })}\n`)
    return
  }
  const sum = result.recovered.reduce((size, { start, end }) => size + end - start, 0)
  const lines = [shown`hexz: ${target}: recovered ${formatSize(sum)} (${sum} bytes) of ${name}`]
  if (result.isComplete) lines.push('  everything: the snapshot is whole')
  else if (result.fault !== undefined) lines.push(`  the snapshot is not whole: ${result.fault}`)
  if (!result.isComplete) lines.push(`  the first ${result.prefixSize} bytes are without a gap`)
  lines.push(
    ...rangeLines('lost, left as holes: bytes', result.lost),
    ...rangeLines('damage in the snapshot: bytes', result.damage)
  )
  if (result.streamSize === undefined)
    lines.push('  how long the stream was is not known: the snapshot was cut off before its end')
  process.stderr.write(`${lines.join('\n')}\n`)
}

function rangeLines(what: string, ranges: readonly Range[]): string[] {
  const lines = ranges.slice(0, rangesShown).map(({ start, end }) => `  ${what} ${start} to ${end - 1}`)
  if (ranges.length > rangesShown) lines.push(`  … and ${ranges.length - rangesShown} more; --json lists all`)
  return lines
}
