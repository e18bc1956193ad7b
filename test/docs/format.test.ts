import { readFile } from 'node:fs/promises'
import { Writable } from 'node:stream'
import t from 'tap'
import { gear } from '../../lib/chunking/gear.js'
import { decodeIndexBytes } from '../../lib/compression/codecs.js'
import { decodeFrameHeader, frameHeaderSize } from '../../lib/format/frame.js'
import { build, formatLimits, openSnapshot } from '../../lib/index.js'
import { blake3 } from '../../lib/format/digest.js'

/** `docs/format.md` against the code and against the sample it describes. */

const root = new URL('../../../', import.meta.url)
const document = await readFile(new URL('docs/format.md', root), 'utf8')
const samplePath = new URL('samples/format.st', root)
const sample = await readFile(samplePath)
const plain = await readFile(new URL('samples/format.bin', root))

function section(title: string): string {
  return document.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? ''
}

await t.test('the limits are those of limits.ts', (t) => {
  const rows = [...section('11. Limits').matchAll(/^\| (\w+) \| (\d+) \|/gm)].map(([, name, value]) => [
    name,
    Number(value)
  ])
  t.strictSame(Object.fromEntries(rows), { ...formatLimits })
  t.end()
})

await t.test('the gear table begins and ends as stated', (t) => {
  const entry = (i: number): string => ((gear[i] ?? 0) >>> 0).toString(16).toUpperCase().padStart(8, '0')
  const stated = `G[0] = ${entry(0)}, G[1] = ${entry(1)}, G[255] = ${entry(255)}.`
  t.ok(section('14. Chunkers').replaceAll('\n', ' ').includes(stated), stated)
  t.end()
})

/** The bytes of one annotated dump; every line must start where the one before it ended. */
function parseDump(text: string): Buffer {
  const pieces: Buffer[] = []
  let offset = 0
  for (const [line, at = '', hex = '', times = '1'] of text.matchAll(
    /^([0-9a-f]{4}) {2}((?:[0-9a-f]{2} ?){1,16})(?: *\((\d+) times\))?.*$/gm
  )) {
    if (parseInt(at, 16) !== offset) throw new Error(`the dump has a gap before: ${line}`)
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    const piece = Buffer.concat(Array.from({ length: Number(times) }, () => bytes))
    pieces.push(piece)
    offset += piece.length
  }
  return Buffer.concat(pieces)
}

await t.test('the annotated dumps are the sample, its page and its root', async (t) => {
  const dumps = [...document.matchAll(/```text\n([^`]*)```/g)].map(([, text = '']) => parseDump(text))
  const decodeAt = async (offset: number): Promise<Buffer> => {
    const { codec, rawSize, payloadSize } = decodeFrameHeader(sample.subarray(offset), 'sample', offset)
    const start = offset + frameHeaderSize
    return Buffer.from(await decodeIndexBytes(codec, sample.subarray(start, start + payloadSize), rawSize))
  }
  const snapshot = await openSnapshot(samplePath.pathname)
  t.teardown(() => snapshot.close())
  const page = await decodeAt(snapshot.root.pages.at(0)?.handle.offset ?? 0)
  t.equal(dumps.length, 3)
  t.strictSame(dumps[0], sample)
  t.strictSame(dumps[1], page)
  t.strictSame(dumps[2], await decodeAt(0x2ec))
  t.strictSame(Buffer.from(blake3(page)), Buffer.from(snapshot.root.pages.at(0)?.digest ?? []))
})

await t.test('the sample is read back, and made again with the same bytes', async (t) => {
  const snapshot = await openSnapshot(samplePath.pathname)
  t.teardown(() => snapshot.close())
  t.strictSame(await snapshot.read('disk', 0, 4096), plain)
  t.strictSame(
    snapshot.streams.map(({ name, blockCount, repeatCount, holeCount }) => [
      name,
      blockCount,
      repeatCount,
      holeCount
    ]),
    [['disk', 1, 1, 1]]
  )
  const pieces: Buffer[] = []
  const target = new Writable({
    write(piece: Buffer, _encoding, done) {
      pieces.push(piece)
      done()
    }
  })
  await build({
    source: new URL('samples/format.bin', root).pathname,
    target,
    codec: 'raw',
    chunkSize: 512,
    concurrency: 1
  })
  t.strictSame(Buffer.concat(pieces), sample)
})
