import { access, writeFile } from 'node:fs/promises'
import { openSnapshot } from '../../lib/reader/open-snapshot.js'
import { buildInMemory } from './build.js'
import { hex, sha256 } from './bytes.js'
import {
  compatSamples,
  goldenOptions,
  readSample,
  samplePassphrase,
  samplePath,
  tinySource
} from './samples.js'
import { memorySource } from './snapshots.js'

/*
 * Writes the committed samples. Run by hand after `npm run build`: `node dist/test/helpers/make-samples.js`.
 * Golden files are made anew: do so only when the bytes are meant to change. Compat files are only made
 * where they are missing: what a released version wrote must stay as it was.
 */

/** One line of `test/compat/manifest.json`. */
export interface CompatEntry {
  readonly profile: string
  readonly snapshotDigest: string
  readonly fileSha256: string
  readonly streams: readonly {
    readonly name: string
    readonly size: number
    readonly sha256: string
    readonly blockCount: number
    readonly repeatCount: number
    readonly holeCount: number
  }[]
}

async function makeGolden(): Promise<void> {
  await writeFile(samplePath('golden/tiny.bin'), tinySource())
  for (const [name, options] of Object.entries(goldenOptions))
    await writeFile(samplePath(`golden/${name}.st`), (await buildInMemory([[tinySource()]], options)).file)
}

async function makeCompat(): Promise<void> {
  const manifest: Record<string, CompatEntry> = {}
  for (const [name, { streams, options }] of Object.entries(compatSamples)) {
    const path = samplePath(`compat/${name}.st`)
    const isThere = await access(path).then(
      () => true,
      () => false
    )
    const made = async (): Promise<Buffer> =>
      (
        await buildInMemory(
          streams.map((bytes) => [bytes]),
          options
        )
      ).file
    if (!isThere) await writeFile(path, await made())
    manifest[name] = await describe(await readSample(`compat/${name}.st`), streams)
  }
  await writeFile(samplePath('compat/manifest.json'), `${JSON.stringify(manifest, undefined, 2)}\n`)
}

async function describe(file: Buffer, sources: readonly Uint8Array[]): Promise<CompatEntry> {
  const snapshot = await openSnapshot(memorySource(file), { passphrase: samplePassphrase })
  return {
    profile: snapshot.header.profile,
    snapshotDigest: hex(snapshot.digest),
    fileSha256: sha256(file),
    streams: snapshot.streams.map(({ name, size, blockCount, repeatCount, holeCount }, i) => ({
      name,
      size,
      sha256: sha256(sources[i] ?? Buffer.of()),
      blockCount,
      repeatCount,
      holeCount
    }))
  }
}

if (process.argv[1]?.endsWith('make-samples.js') === true) {
  await makeGolden()
  await makeCompat()
}
