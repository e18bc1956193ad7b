import { UsageError } from '../errors.js'
import type { Header } from '../format/header.js'
import type { IndexRoot } from '../format/index-root.js'
import type { Snapshot } from '../reader/open-snapshot.js'
import { isSet, type Command } from './command.js'
import { describeDictionary, dictionaryJson } from './dictionary.js'
import { openSnapshotBytes } from './open-input.js'
import { openWithCredentials } from './credentials.js'
import { openFlags } from './passphrase.js'
import { jsonText, shown } from './printable.js'
import { formatSize } from './progress.js'
import { count, formatRatio, hex, savingLines, sumStreams } from './report.js'

/** What a snapshot holds. */
export const inspect: Command = {
  name: 'inspect',
  summary: 'show what a snapshot holds',
  usage: ['SNAPSHOT [--json]'],
  places: [{ role: 'input', name: 'the snapshot' }],
  flags: { json: { type: 'boolean', help: 'the same as JSON' }, ...openFlags },
  async run(args, { signal }) {
    const [path] = args.places
    if (path === undefined) throw new UsageError('no snapshot is named; give a file, or - for standard input')
    const source = await openSnapshotBytes(path)
    const snapshot = await openWithCredentials(args, source, signal)
    try {
      process.stdout.write(
        isSet(args, 'json') ? `${jsonText(asJson(snapshot), 2)}\n` : `${describe(snapshot)}\n`
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
  return {
    file: name,
    format: `${major}.${minor}`,
    settings: { profile, chunker, codec, level, chunkSizeMin, chunkSizeAvg, chunkSizeMax, encrypted },
    rawSize: sumStreams(streams).size,
    storedSize: fileSize,
    streams,
    dictionary: dictionaryJson(root.dictionary),
    dictionaryReason: whyNone(header, root) ?? null,
    indexPageCount: root.pages.length,
    digest: hex(digest)
  }
}

/** Why a snapshot that could have a dictionary has none; which of the two, only the build's summary says. */
function whyNone({ codec }: Header, { dictionary }: IndexRoot): string | undefined {
  return codec !== 'zstd' || dictionary !== undefined
    ? undefined
    : 'it was not asked for, or would not have paid'
}

function dictionaryLine(header: Header, root: IndexRoot): string {
  if (root.dictionary !== undefined) return describeDictionary(root.dictionary)
  const reason = whyNone(header, root)
  return reason === undefined ? 'none' : `none: ${reason}`
}

function describe({ header, streams, fileSize, digest, root, name }: Snapshot): string {
  const { size } = sumStreams(streams)
  const codec = { raw: 'none', lz4: 'LZ4', zstd: `Zstd level ${header.level}` }[header.codec]
  const chunks =
    header.chunker === 'fixed'
      ? `fixed, ${formatSize(header.chunkSizeAvg)}`
      : `content-defined, ${formatSize(header.chunkSizeAvg)} on average, ${formatSize(header.chunkSizeMin)} to ${formatSize(header.chunkSizeMax)}`
  const lines = [
    shown`${name}: snapshot, format ${header.major}.${header.minor}, ${formatSize(size)} in ${formatSize(fileSize)}, ratio ${formatRatio(size, fileSize)}`,
    shown`  profile      ${header.profile}`,
    `  chunks       ${chunks}`,
    `  codec        ${codec}`,
    `  dictionary   ${dictionaryLine(header, root)}`,
    `  encryption   ${header.encrypted ? 'AES-256-GCM' : 'none'}`,
    `  index        ${count(root.pages.length, 'page')}`,
    `  digest       ${hex(digest)}`
  ]
  for (const stream of streams)
    lines.push(
      shown`stream ${stream.name}: ${formatSize(stream.size)} (${stream.size} bytes)`,
      ...savingLines(stream)
    )
  return lines.join('\n')
}
