import { once } from 'node:events'
import { UsageError } from '../errors.js'
import { diffStreams } from '../reader/diff.js'
import { openSnapshot, type Snapshot } from '../reader/open-snapshot.js'
import type { Range } from '../reader/ranges.js'
import { readHeader } from '../reader/structure.js'
import { defaultWorkerCount } from '../workers/pool.js'
import { isSet, type Arguments, type Command } from './command.js'
import { openSnapshotBytes } from './open-input.js'
import { concurrencyOption, textFlag } from './options.js'
import { withCredentials } from './credentials.js'
import { openFlags } from './passphrase.js'
import { jsonText, printable, shown } from './printable.js'
import { formatSize } from './progress.js'
import { count } from './report.js'

/** Nothing else ends with it: 1 would be a bug of ours, and not an answer. */
export const differentExit = 9

/** What differs between two snapshots. */
export const diff: Command = {
  name: 'diff',
  summary: 'show where two snapshots differ',
  usage: ['A B [--json]', 'A B --stream memory'],
  places: [
    { role: 'input', name: 'the first snapshot' },
    { role: 'input', name: 'the second' }
  ],
  flags: {
    stream: { type: 'string', value: 'NAME', help: 'only this stream; default all' },
    chunks: {
      type: 'boolean',
      help: 'from the index alone: whole chunks, in which some bytes may be the same'
    },
    ...openFlags,
    json: { type: 'boolean', help: 'the ranges and sizes as JSON' },
    concurrency: { type: 'string', value: 'N', help: 'worker threads, 1 to 64; default one per core' }
  },
  notes: `Exits 0 when nothing differs, and ${differentExit} when something does.`,
  async run(args, { signal }) {
    const [onePath, otherPath] = args.places
    if (onePath === undefined || otherPath === undefined)
      throw new UsageError('diff compares two snapshots; name both')
    const { concurrency = defaultWorkerCount() } = concurrencyOption(args)
    const [one, other] = await openBoth(args, [onePath, otherPath], concurrency, signal)
    try {
      const options = { chunksOnly: isSet(args, 'chunks'), signal }
      const print = isSet(args, 'json') ? printJson : printText
      const isDifferent = await print(
        one,
        other,
        chooseStreams(one, other, textFlag(args, 'stream')),
        options
      )
      if (isDifferent) process.exitCode = differentExit
    } finally {
      for (const snapshot of [one, other]) await snapshot.close()
    }
  }
}

/** What opens the first is to open the second, too: a descriptor can be read once. */
async function openBoth(
  args: Arguments,
  paths: readonly [string, string],
  concurrency: number,
  signal: AbortSignal
): Promise<[Snapshot, Snapshot]> {
  const one = await openSnapshotBytes(paths[0])
  const sources = [one]
  try {
    const other = await openSnapshotBytes(paths[1])
    sources.push(other)
    const isLocked = await readHeader(one).then(
      ({ header }) => header.encrypted,
      () => false // told by openSnapshot()
    )
    return await withCredentials(args, isLocked ? one : other, signal, async (credentials) => [
      await openSnapshot(one, { concurrency, ...credentials }),
      await openSnapshot(other, { concurrency, ...credentials })
    ])
  } catch (error) {
    for (const source of sources) await source.close()
    throw error
  }
}

type Printer = (
  one: Snapshot,
  other: Snapshot,
  streams: readonly string[],
  options: { readonly chunksOnly: boolean; readonly signal: AbortSignal }
) => Promise<boolean>

/** Streams of either; @throws UsageError when neither has the one wanted */
function chooseStreams(one: Snapshot, other: Snapshot, wanted: string | undefined): string[] {
  const names = [...new Set([one, other].flatMap(({ streams }) => streams.map(({ name }) => name)))]
  if (wanted === undefined) return names
  if (names.includes(wanted)) return [wanted]
  throw new UsageError(`neither snapshot has a stream "${wanted}"; they have ${names.join(', ')}`)
}

const sizeOf = ({ streams }: Snapshot, name: string): number | undefined =>
  streams.find((stream) => stream.name === name)?.size

/** Bytes behind the end of the shorter one. */
function tailOf(one: Snapshot, other: Snapshot, name: string): (Range & { of: Snapshot }) | undefined {
  const [a = 0, b = 0] = [sizeOf(one, name), sizeOf(other, name)]
  return a === b ? undefined : { start: Math.min(a, b), end: Math.max(a, b), of: a > b ? one : other }
}

/** Waits where the reader is slower: there may be millions of ranges. */
async function print(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain')
}

/** A line for each range; what belongs to all of them on standard error. */
const printText: Printer = async (one, other, streams, options) => {
  let isDifferent = false
  for (const stream of streams) {
    let sum = 0
    let rangeCount = 0
    for await (const { start, end } of diffStreams(one, other, stream, options)) {
      sum += end - start
      rangeCount += 1
      await print(shown`${stream} ${start} ${end - 1} ${end - start}\n`)
    }
    const tail = tailOf(one, other, stream)
    const lacking = [one, other].filter((snapshot) => sizeOf(snapshot, stream) === undefined)
    const what = options.chunksOnly ? 'in whole chunks, in' : 'in'
    const parts = [
      sum === 0
        ? 'no byte differs'
        : `${formatSize(sum)} (${sum} bytes) ${what} ${count(rangeCount, 'range')} differ`,
      ...(tail === undefined ? [] : [`bytes ${tail.start} to ${tail.end - 1} are in ${tail.of.name} only`]),
      ...lacking.map(({ name }) => `${name} has no such stream`)
    ]
    process.stderr.write(`hexz: ${printable(`${stream}: ${parts.join('; ')}`)}\n`)
    if (sum > 0 || tail !== undefined || lacking.length > 0) isDifferent = true
  }
  return isDifferent
}

/** One object, range by range; the keys are a contract (docs/cli.md). */
const printJson: Printer = async (one, other, streams, options) => {
  let isDifferent = false
  await print(`{"files":${jsonText([one.name, other.name])},"streams":[`)
  for (const [i, stream] of streams.entries()) {
    const sizes = [one, other].map((snapshot) => sizeOf(snapshot, stream) ?? null)
    await print(`${i > 0 ? ',' : ''}{"name":${jsonText(stream)},"sizes":${jsonText(sizes)},"ranges":[`)
    let sum = 0
    for await (const { start, end } of diffStreams(one, other, stream, options)) {
      await print(`${sum > 0 ? ',' : ''}${jsonText({ start, end })}`)
      sum += end - start
    }
    await print(`],"differentSize":${sum}}`)
    if (sum > 0 || sizes[0] !== sizes[1]) isDifferent = true
  }
  await print(`],"isDifferent":${isDifferent},"isExact":${!options.chunksOnly}}\n`)
  return isDifferent
}
