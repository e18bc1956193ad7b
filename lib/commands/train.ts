import { gainMin, percent, type Dictionary } from '../compression/dictionary.js'
import { UsageError } from '../errors.js'
import { zstdLevelMax } from '../profiles.js'
import type { Target } from '../target/target.js'
import { checkTrainSettings, openEach, trainOn, type TrainSettings } from '../train.js'
import { isSet, type Arguments, type Command } from './command.js'
import { openInput, parseCount, sizeNote, sizeOption, textFlag } from './options.js'
import { checkOutput, openOutput } from './open-output.js'
import { jsonText, shown } from './printable.js'
import { formatSize } from './progress.js'
import { count, peakMemory } from './report.js'

/** One dictionary for many snapshots. */
export const train: Command = {
  name: 'train',
  summary: 'make a Zstandard dictionary out of many sources, for --dictionary FILE and zstd -D',
  usage: ['SOURCE... -o FILE', '- -o FILE < disk.img'],
  places: 'inputs',
  flags: {
    output: {
      type: 'string',
      shortFlag: 'o',
      value: 'FILE',
      names: 'target',
      help: 'where the dictionary goes; default -, standard output'
    },
    size: { type: 'string', value: 'SIZE', help: 'size of the dictionary at most, 1K to 1M; default 110K' },
    level: {
      type: 'string',
      value: 'N',
      help: `Zstd level it is measured by, 1 to ${zstdLevelMax}; default 3`
    },
    force: { type: 'boolean', shortFlag: 'f', help: 'replace an existing target' },
    json: { type: 'boolean', help: 'the summary as JSON' }
  },
  notes: sizeNote,
  async run(args, { signal }) {
    const targetPath = textFlag(args, 'output') ?? '-'
    const level = textFlag(args, 'level')
    const settings: TrainSettings = {
      ...sizeOption(args, 'size', 'size'),
      ...(level === undefined ? {} : { level: parseCount(level, '--level', 1, zstdLevelMax) }),
      signal
    }
    if (args.input.length === 0)
      throw new UsageError('no source is named; give files, devices, or - for standard input')
    checkTrainSettings(settings, args.input.length)
    const output = {
      force: isSet(args, 'force'),
      content: 'dictionary' as const,
      sources: args.input,
      signal
    }
    await checkOutput(targetPath, output)
    const start = performance.now()
    const dictionary = await trainOn(await openEach(args.input, openInput), settings)
    const target = await openOutput(targetPath, output)
    try {
      await target.write([dictionary.bytes])
      await target.commit()
    } finally {
      await target.discard()
    }
    report(args, target, dictionary, performance.now() - start)
  }
}

function report(args: Arguments, target: Target, dictionary: Dictionary, elapsedMs: number): void {
  const { bytes, sampleCount, gain } = dictionary
  if (isSet(args, 'json')) {
    const summary = {
      target: target.name,
      size: bytes.length,
      sampleCount,
      gain: gain / 10000,
      elapsedMs: Math.round(elapsedMs),
      peakMemory: peakMemory()
    }
    ;(target.isBlocking === true ? process.stderr : process.stdout).write(`${jsonText(summary)}\n`)
    return
  }
  const lines = [
    shown`hexz: ${target.name}: ${formatSize(bytes.length)}, trained on ${count(sampleCount, 'sample')} of ${count(args.input.length, 'source')}`,
    `  gain         ${percent(gain)} on samples that it was not trained on`,
    ...(gain < gainMin ? [`  too little to be worth it: ${percent(gainMin)} is what build asks for`] : []),
    `  ${(elapsedMs / 1000).toFixed(1)} s, peak memory ${formatSize(peakMemory())}`
  ]
  process.stderr.write(`${lines.join('\n')}\n`)
}
