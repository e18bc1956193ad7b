import t from 'tap'
import { readdir } from 'node:fs/promises'
import { openSnapshot } from '../../lib/reader/open-snapshot.js'
import { recoverStream } from '../../lib/reader/recover.js'
import { verifySnapshot } from '../../lib/reader/verify.js'
import { difference, hex, sha256 } from '../helpers/bytes.js'
import { rejected } from '../helpers/errors.js'
import type { CompatEntry } from '../helpers/make-samples.js'
import { compatSamples, readSample, samplePassphrase, samplePath } from '../helpers/samples.js'
import { memorySource } from '../helpers/snapshots.js'

/* Snapshots of each released format version, as they were written then. Every later version reads them. */

const manifest = JSON.parse((await readSample('compat/manifest.json')).toString()) as Record<
  string,
  CompatEntry
>
const passphrase = samplePassphrase
/** Most of the samples are not encrypted. */
const allowPlain = true

await t.test('every sample is in the manifest, and every entry has its sample', async (t) => {
  const files = (await readdir(samplePath('compat'))).filter((name) => name.endsWith('.st'))
  t.strictSame(
    files.sort(),
    Object.keys(manifest)
      .map((name) => `${name}.st`)
      .sort()
  )
  t.strictSame(Object.keys(manifest).sort(), Object.keys(compatSamples).sort())
})

for (const [name, expected] of Object.entries(manifest))
  await t.test(`${name} reads as it was written`, async (t) => {
    const file = await readSample(`compat/${name}.st`)
    t.equal(sha256(file), expected.fileSha256, 'the file is the one that was released')
    const { chunkCount, footer } = await verifySnapshot(memorySource(file), { concurrency: 0, passphrase, allowPlain })
    t.equal(
      chunkCount,
      expected.streams.reduce((sum, { blockCount }) => sum + blockCount, 0)
    )
    t.equal(hex(footer.snapshotDigest), expected.snapshotDigest)

    const snapshot = await openSnapshot(memorySource(file), { passphrase, allowPlain })
    t.match(snapshot.header, { major: 1, minor: 0, profile: expected.profile })
    for (const [number, { name: stream, size, sha256: digest, ...counts }] of expected.streams.entries()) {
      t.match(snapshot.streams[number], { name: stream, size, ...counts })
      const bytes = await snapshot.read(stream, 0, size)
      t.equal(sha256(bytes), digest, `stream ${stream}`)
      t.equal(difference(bytes, compatSamples[name]?.streams[number] ?? Buffer.of()), 'equal')

      const recovered = Buffer.alloc(size)
      const target = {
        writeAt(offset: number, piece: Uint8Array) {
          recovered.set(piece, offset)
          return Promise.resolve()
        }
      }
      const result = await recoverStream(memorySource(file), target, { stream: number, passphrase, allowPlain })
      t.match(result, { isComplete: true, streamSize: size, lost: [], damage: [] })
      t.equal(sha256(recovered), digest, `stream ${stream}, recovered`)
    }
  })

await t.test('the encrypted sample needs its passphrase', async (t) => {
  const file = await readSample('compat/1.0-encrypted.st')
  t.match(await rejected(openSnapshot(memorySource(file))), /^KeyError KEY_MISSING: /)
  t.match(await rejected(openSnapshot(memorySource(file), { passphrase: 'wrong' })), /^KeyError KEY_WRONG: /)
})
