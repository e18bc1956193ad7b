import { UsageError } from '../errors.js'
import { predictSource, type Prediction } from '../predict.js'
import type { PredictedBuild } from '../prediction/estimate.js'
import { profiles } from '../profiles.js'
import { isSet, type Command } from './command.js'
import { openInput } from './options.js'
import { jsonText, shown } from './printable.js'
import { formatSize } from './progress.js'
import { peakMemory } from './report.js'

/** What each profile would give, before building. */
export const predict: Command = {
  name: 'predict',
  summary: 'tell what each profile would make of a source, from samples, in seconds',
  usage: ['SOURCE [--json]'],
  places: [{ role: 'input', name: 'the source' }],
  flags: {
    json: { type: 'boolean', help: 'the result as JSON' }
  },
  notes: 'SOURCE is a file, a device, or - for standard input, of which the first 2 GiB are read.',
  async run(args, { signal }) {
    const [path] = args.places
    if (path === undefined)
      throw new UsageError('no source is named; give a file, a device, or - for standard input')
    const start = performance.now()
    const source = await openInput(path)
    const prediction = await predictSource(source, { signal })
    const elapsedMs = Math.round(performance.now() - start)
    const text = isSet(args, 'json')
      ? jsonText(toJson(source.name, prediction, elapsedMs))
      : describe(source.name, prediction, elapsedMs)
    process.stdout.write(`${text}\n`)
  }
}

/** The keys are a contract (docs/cli.md). */
function toJson(name: string, { smallest, fastest, ...prediction }: Prediction, elapsedMs: number): object {
  const { builds } = prediction
  return {
    source: name,
    ...prediction,
    smallest: builds.indexOf(smallest),
    fastest: builds.indexOf(fastest),
    elapsedMs,
    peakMemory: peakMemory()
  }
}

const heading = ['profile', 'cdc', 'dictionary', 'holes', 'repeats', 'ratio', '', 'stored', 'speed']

function describe(name: string, prediction: Prediction, elapsedMs: number): string {
  const { size, readSize, isWhole, builds, smallest, fastest } = prediction
  const read = isWhole
    ? `${formatSize(size)}, all of it read`
    : `${formatSize(size)}, of which ${formatSize(readSize)} were read`
  const rows = [heading, ...builds.map(cellsOf)]
  const widths = heading.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)))
  const isText = (column: number): boolean => column < 3
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (isText(i) ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd()
  )
  return [
    shown`${name}: ${read} in ${(elapsedMs / 1000).toFixed(1)} s`,
    ...lines.map((line) => `  ${line}`),
    `smallest: ${flagsOf(smallest)}`,
    `fastest:  ${flagsOf(fastest)}`,
    'The ratio is meant to be right within the ± beside it, 19 times out of 20; the speed is a rough estimate.',
    ...(isWhole ? [] : ['Repeats that lie far apart were not seen: a build may well come out smaller.'])
  ].join('\n')
}

function cellsOf(build: PredictedBuild): string[] {
  const {
    profile,
    cdc,
    dictionary,
    dictionaryPays,
    holeShare,
    repeatShare,
    ratio,
    error,
    storedSize,
    speed
  } = build
  const share = (value: number): string => `${(100 * value).toFixed(1)} %`
  return [
    profile,
    cdc ? 'yes' : 'no',
    dictionary ? (dictionaryPays ? 'yes' : 'does not pay') : 'no',
    share(holeShare),
    share(repeatShare),
    ratio === 0 ? '–' : ratio.toFixed(2),
    `± ${(100 * error).toFixed(1)} %`,
    formatSize(storedSize),
    `${formatSize(Math.round(speed))}/s`
  ]
}

/** How to ask for it. */
function flagsOf({ profile, cdc, dictionary, dictionaryPays }: PredictedBuild): string {
  const isOff = profiles[profile].usesDictionary && !(dictionary && dictionaryPays)
  return [`--profile ${profile}`, ...(cdc ? ['--cdc'] : []), ...(isOff ? ['--dictionary off'] : [])].join(' ')
}
