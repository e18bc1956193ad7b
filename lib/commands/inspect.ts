import { UsageError } from '../errors.js'
import type { Snapshot } from '../reader/open-snapshot.js'
import { isSet, type Command } from './command.js'
import { openSnapshotBytes } from './open-input.js'
import { takePlaces } from './options.js'
import { openFlags, openWithCredentials } from './passphrase.js'
import { formatSize } from './progress.js'
import { count, formatRatio, hex, savingLines, sumStreams } from './report.js'

/** What a snapshot holds. */
export const inspect: Command = {
  name: 'inspect',
  summary: 'show what a snapshot holds',
  usage: ['SNAPSHOT [--json]'],
  flags: { json: { type: 'boolean', help: 'the same as JSON' }, ...openFlags },
  async run(args) {
    const [path] = takePlaces(args, [undefined])
    if (path === undefined) throw new UsageError('no snapshot is named; give a file, or - for standard input')
    const source = await openSnapshotBytes(path)
    const snapshot = await openWithCredentials(args, source)
    try {
      process.stdout.write(
        isSet(args, 'json')
          ? `${JSON.stringify(asJson(snapshot), undefined, 2)}\n`
          : `${describe(snapshot)}\n`
      )
    } finally {
      await snapshot.close()
    }
  }
}

/** The keys are a contract (docs/cli.md). */
function asJson({ header, streams, fileSize, digest, root, name }: Snapshot): object {
  const {
    major,
    minor,
    profile,
    chunker,
    codec,
    level,
    chunkSizeMin,
    chunkSizeAvg,
    chunkSizeMax,
    encrypted
  } = header
  const dictionary =
    root.dictionary === undefined
      ? null
      : {
          rawSize: root.dictionary.rawSize,
          sampleCount: root.dictionary.sampleCount,
          gain: root.dictionary.gain / 10000
        }
  return {
    file: name,
    format: `${major}.${minor}`,
    settings: { profile, chunker, codec, level, chunkSizeMin, chunkSizeAvg, chunkSizeMax, encrypted },
    rawSize: sumStreams(streams).size,
    storedSize: fileSize,
    streams,
    dictionary,
    indexPageCount: root.pages.length,
    digest: hex(digest)
  }
}

function describe({ header, streams, fileSize, digest, root, name }: Snapshot): string {
  const { size } = sumStreams(streams)
  const codec = { raw: 'none', lz4: 'LZ4', zstd: `Zstd level ${header.level}` }[header.codec]
  const chunks =
    header.chunker === 'fixed'
      ? `fixed, ${formatSize(header.chunkSizeAvg)}`
      : `content-defined, ${formatSize(header.chunkSizeAvg)} on average, ${formatSize(header.chunkSizeMin)} to ${formatSize(header.chunkSizeMax)}`
  const lines = [
    `${name}: snapshot, format ${header.major}.${header.minor}, ${formatSize(size)} in ${formatSize(fileSize)}, ratio ${formatRatio(size, fileSize)}`,
    `  profile      ${header.profile}`,
    `  chunks       ${chunks}`,
    `  codec        ${codec}`,
    `  dictionary   ${root.dictionary === undefined ? 'none' : `${formatSize(root.dictionary.rawSize)}, gain ${root.dictionary.gain / 100} %`}`,
    `  encryption   ${header.encrypted ? 'AES-256-GCM' : 'none'}`,
    `  index        ${count(root.pages.length, 'page')}`,
    `  digest       ${hex(digest)}`
  ]
  for (const stream of streams)
    lines.push(
      `stream ${stream.name}: ${formatSize(stream.size)} (${stream.size} bytes)`,
      ...savingLines(stream)
    )
  return lines.join('\n')
}
