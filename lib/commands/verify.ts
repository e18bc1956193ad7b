import { UsageError } from '../errors.js'
import { verifySnapshot } from '../reader/verify.js'
import { isSet, type Command } from './command.js'
import { openSnapshotBytes } from './open-input.js'
import { concurrencyOption, textFlag } from './options.js'
import { withCredentials } from './credentials.js'
import { openFlags } from './passphrase.js'
import { jsonText, shown } from './printable.js'
import { createProgress, formatSize, parseProgressMode, progressFlag } from './progress.js'
import { count, hex, peakMemory, sumStreams } from './report.js'

/** Whether a snapshot is whole and undamaged. */
export const verify: Command = {
  name: 'verify',
  summary: 'check every byte, every digest and the chain between them',
  usage: ['SNAPSHOT [--quick]'],
  places: [{ role: 'input', name: 'the snapshot' }],
  flags: {
    quick: { type: 'boolean', help: 'check header, footer and index only, not the chunks' },
    ...openFlags,
    json: { type: 'boolean', help: 'the result as JSON' },
    progress: progressFlag,
    concurrency: { type: 'string', value: 'N', help: 'worker threads, 1 to 64; default one per core' }
  },
  async run(args, { signal }) {
    const [path] = args.places
    if (path === undefined) throw new UsageError('no snapshot is named; give a file, or - for standard input')
    const mode = parseProgressMode(textFlag(args, 'progress'))
    const concurrency = concurrencyOption(args)
    const quick = isSet(args, 'quick')
    const source = await openSnapshotBytes(path)
    const progress = createProgress(mode, 'checked', source.size)
    const start = performance.now()
    try {
      const { root, footer, chunkCount, fileSize } = await withCredentials(
        args,
        source,
        signal,
        (credentials) =>
          verifySnapshot(source, {
            ...credentials,
            quick,
            ...concurrency,
            signal,
            onProgress: (size) => progress.update(size)
          })
      )
      progress.end()
      const elapsedMs = Math.round(performance.now() - start)
      const rawSize = sumStreams(root.streams).size
      const digest = hex(footer.snapshotDigest)
      if (isSet(args, 'json')) {
        process.stdout.write(
          `${jsonText({ file: source.name, isIntact: true, quick, chunkCount, rawSize, storedSize: fileSize, elapsedMs, peakMemory: peakMemory(), digest })}\n`
        )
        return
      }
      const what = quick
        ? `${count(root.pages.length, 'index page')} checked, chunks not looked at`
        : `${count(chunkCount, 'block')} and ${count(root.pages.length, 'index page')} checked`
      process.stdout.write(
        shown`${source.name}: intact, ${formatSize(rawSize)} in ${formatSize(fileSize)}, ${what}, digest ${digest}\n`
      )
    } finally {
      progress.end()
      await source.close()
    }
  }
}
