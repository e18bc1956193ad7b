/**
 * Builds snapshots of files without a dictionary, with one of `zstd --train` on the same samples and of the same
 * size, and with ours, from the file and from a pipe; at blocks of 16K, 64K, 128K and 256K. Prints the sizes, and
 * what each saves. Exits 1 where ours, of the file, is more than 0.1 % larger than none or than the other.
 *
 * Ours are used whether or not they pay (`--dictionary always`): it is dictionaries that are compared.
 *
 *   npm run bench:dictionary -- [--blocks 16K,64K,128K,256K] FILE...
 *
 * Needs `zstd` on the PATH; where it is missing or refuses to train, that column says so.
 */
import { execFileSync } from 'node:child_process'
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { parseSize } from '../lib/commands/options.js'
import { build, memoryLimits, type BuildOptions, type SourceLike } from '../lib/index.js'
import { sampleSources } from '../lib/source/sample.js'
import { openSource } from '../lib/source/file-source.js'
import { discard } from './discard.js'

const KiB = 1024
const { values, positionals } = parseArgs({
  options: { blocks: { type: 'string', default: '16K,64K,128K,256K' } },
  allowPositionals: true
})
const chunkSizes = values.blocks.split(',').map((size) => parseSize(size, '--blocks'))
/** Of one that should not be larger: noise of a build that follows samples. */
const tolerance = 1.001
const work = mkdtempSync(join(tmpdir(), 'hexz-dictionary-'))

/** What `zstd --train` makes of the samples that a build would train on; `undefined` where it refuses. */
async function trainWithZstd(path: string, chunkSize: number): Promise<Uint8Array | undefined> {
  const source = await openSource(path)
  try {
    const { size, readAt } = source
    if (size === undefined || readAt === undefined) throw new Error(`${path} is no file`)
    const { training, sizes } = await sampleSources([{ size, readAt }], chunkSize)
    const [samples, made] = [join(work, 'samples'), join(work, 'dictionary')]
    writeFileSync(samples, training)
    const pieceSize = Math.max(...sizes)
    const options = [
      '-q',
      '-f',
      '--train',
      `-B${pieceSize}`,
      `--maxdict=${memoryLimits.dictionarySizeDefault}`
    ]
    execFileSync('zstd', [...options, samples, '-o', made], { stdio: 'ignore' })
    return readFileSync(made)
  } catch {
    return undefined
  } finally {
    await source.close()
  }
}

async function sizeOf(
  source: SourceLike,
  chunkSize: number,
  dictionary: BuildOptions['dictionary'] & {}
): Promise<number> {
  const options = { profile: 'eda', chunkSize, dictionary, target: discard() }
  return (await build({ source, ...options })).fileSize
}

let isWorse = false
for (const path of positionals) {
  process.stdout.write(
    `${basename(path)}\n  block        none  zstd --train       saved  ours, file       saved  ours, pipe       saved\n`
  )
  for (const chunkSize of chunkSizes) {
    const none = await sizeOf(path, chunkSize, 'off')
    const theirDictionary = await trainWithZstd(path, chunkSize)
    const theirs = theirDictionary === undefined ? undefined : await sizeOf(path, chunkSize, theirDictionary)
    const ofFile = await sizeOf(path, chunkSize, 'always')
    const ofPipe = await sizeOf(createReadStream(path, { highWaterMark: 1024 * KiB }), chunkSize, 'always')
    const cells = [theirs, ofFile, ofPipe].flatMap((size) =>
      size === undefined ? ['none made', ''] : [String(size), `${(100 * (1 - size / none)).toFixed(2)} %`]
    )
    const worse = ofFile > tolerance * Math.min(none, theirs ?? none)
    isWorse ||= worse
    process.stdout.write(
      `  ${`${chunkSize / KiB}K`.padEnd(5)}${String(none).padStart(12)}${cells.map((cell) => cell.padStart(12)).join('')}${worse ? '  larger' : ''}\n`
    )
  }
}
rmSync(work, { recursive: true })
process.exitCode = isWorse ? 1 : 0
