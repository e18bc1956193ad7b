/** A reader that was written from docs/format.md alone reads what the library writes, and reads the same. */
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openSnapshot, profiles } from 'hexz'
import { openIndexed, readForward } from '../helpers/independent-reader.js'
import type { Credentials } from '../helpers/independent/frames.js'
import { built, seeded, verdict, words, type Options } from '../helpers/independent/made.js'

const root = join(import.meta.dirname, '..', '..', '..')

/** Both ways of the independent reader and the library give the same of the snapshot at `path`. */
async function same(
  t: Test,
  path: string,
  sources: Readonly<Record<string, Buffer>>,
  credentials: Credentials = {}
) {
  const file = readFileSync(path)
  const forward = readForward(file, credentials)
  const indexed = openIndexed(file, credentials)
  const snapshot = await openSnapshot(path, credentials)
  t.ok(forward.digest.equals(indexed.digest) && forward.digest.equals(snapshot.digest), 'snapshot digest')
  const { header } = forward
  t.same(indexed.header, header)
  t.same(
    [header.major, header.minor, header.profile, header.encrypted, header.level, header.names],
    ['major', 'minor', 'profile', 'encrypted', 'level', 'streams'].map(
      (key) => snapshot.header[key as 'major']
    ),
    'header'
  )
  const { chunkSizeMin, chunkSizeAvg, chunkSizeMax } = snapshot.header
  t.same(header.chunkSizes, { min: chunkSizeMin, avg: chunkSizeAvg, max: chunkSizeMax }, 'chunk sizes')
  t.equal(['fixed', 'fastcdc'][header.chunker], snapshot.header.chunker, 'chunker')
  t.same(
    snapshot.streams.map(({ name, size }) => [name, size]),
    header.names.map((name, k) => [name, indexed.sizes[k]]),
    'streams'
  )
  for (const [k, name] of header.names.entries()) {
    const size = indexed.sizes[k] ?? -1
    const bytes = forward.streams.get(name) ?? Buffer.from('none')
    t.equal(bytes.length, size, `${name}: size`)
    t.ok(indexed.read(name).equals(bytes), `${name}: by the index as front to back`)
    t.ok(bytes.equals(await snapshot.read(name, 0, size)), `${name}: as the library reads it`)
    const source = sources[name]
    if (source) t.ok(bytes.equals(source), `${name}: as the source`)
    const random = seeded(size)
    for (let round = 0; round < 5 && size > 0; round++) {
      const start = random(size)
      const stop = Math.min(size, start + random(Math.ceil(size / 10)) + 1)
      t.ok(
        indexed.read(name, start, stop).equals(bytes.subarray(start, stop)),
        `${name}: ${start} to ${stop}`
      )
    }
  }
  await snapshot.close()
  return { file, forward, pages: indexed.pageCount }
}

void t.test('committed snapshots', async (t) => {
  for (const folder of ['samples', 'test/compat', 'test/golden'].map((name) => join(root, name))) {
    const names = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : []
    for (const name of names.filter((name) => name.endsWith('.st'))) {
      const path = join(folder, name)
      const isEncrypted = (readFileSync(path).at(16) ?? 0) === 1
      if (isEncrypted) t.equal(verdict(readForward, readFileSync(path)), 'no key', name)
      const source = path.replace(/\.st$/, '.bin')
      if (!isEncrypted) await same(t, path, existsSync(source) ? { disk: readFileSync(source) } : {})
    }
  }
})

/** Holes of several sizes, repeats near and far, and an end within a chunk. */
const part = words(1, 300_000)
const mixed = Buffer.concat([
  part,
  Buffer.alloc(700_000),
  part.subarray(0, 262_144),
  words(2, 90_000),
  Buffer.alloc(65_536),
  part,
  part,
  words(3, 777)
])

void t.test('profiles, with each chunker', async (t) => {
  for (const profile of Object.keys(profiles)) {
    for (const cdc of [false, true]) {
      await t.test(`${profile}${cdc ? ', cdc' : ''}`, async (t) => {
        await same(t, await built(t, { disk: mixed }, { profile, cdc }), { disk: mixed })
      })
    }
  }
})

void t.test('codecs', async (t) => {
  const settings: Options[] = [
    { codec: 'zstd', level: 1 },
    { codec: 'zstd', level: 12, cdc: true },
    { codec: 'raw' },
    { codec: 'lz4' }
  ]
  for (const options of settings) {
    await t.test(JSON.stringify(options), async (t) => {
      await same(t, await built(t, { disk: mixed }, options), { disk: mixed })
    })
  }
})

void t.test('two streams that share blocks', async (t) => {
  const sources = { disk: mixed, memory: Buffer.concat([Buffer.alloc(65_536 * 3), part, words(4, 50_000)]) }
  for (const options of [{}, { cdc: true, chunkSize: 4096 }, { chunkSize: 512, codec: 'zstd' }] as const)
    await t.test(JSON.stringify(options), async (t) => {
      await same(t, await built(t, sources, options), sources)
    })
})

void t.test('several pages, and runs of more repeats than a frame holds', async (t) => {
  const many = words(5, 512 * 4500 + 100)
  const disk = Buffer.concat([many.subarray(0, 512 * 4500), Buffer.alloc(512 * 9), many])
  const alternating = Buffer.alloc(512 * 5000)
  for (let at = 0; at < alternating.length; at += 1024) alternating.fill(`${at} `, at, at + 512)
  for (const options of [{ profile: 'generic' }, { profile: 'ml' }]) {
    const path = await built(t, { disk, memory: alternating }, { ...options, chunkSize: 512 })
    const { pages } = await same(t, path, { disk, memory: alternating })
    t.ok(pages >= 5, `${pages} pages`)
  }
})

void t.test('little or nothing', async (t) => {
  const empty = Buffer.alloc(0)
  const all = [
    { disk: empty },
    { disk: empty, memory: empty },
    { disk: empty, memory: part },
    { disk: part, memory: empty },
    { disk: Buffer.from('x') },
    { disk: Buffer.alloc(1) },
    { disk: Buffer.alloc(20_000_001) }
  ]
  for (const [k, sources] of all.entries())
    await t.test(`number ${k}`, async (t) => {
      await same(t, await built(t, sources), sources)
    })
})

const passphrase = 'Zwölf Boxkämpfer'
const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
const locks = { passphrase: Buffer.from(passphrase), recipients: [other.publicKey, pair.publicKey] }

void t.test('encrypted', async (t) => {
  const sources = { disk: mixed, memory: part }
  const path = await built(t, sources, { locks })
  for (const credentials of [{ passphrase }, { identity: pair.privateKey }, { identity: other.privateKey }])
    await same(t, path, sources, credentials)
  const file = readFileSync(path)
  const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  for (const credentials of [{}, { passphrase: 'wrong' }, { identity: stranger }])
    t.equal(verdict(readForward, file, credentials), 'no key')
  t.ok(readForward(file, { passphrase: passphrase.normalize('NFD') }), 'a passphrase that is not in NFC')

  await t.test('several pages, and nothing', async (t) => {
    const disk = words(6, 512 * 4200)
    const only = { recipients: [other.publicKey] }
    const identity = other.privateKey
    for (const options of [
      { chunkSize: 512, codec: 'zstd', level: 3 },
      { chunkSize: 4096, cdc: true }
    ] as const)
      await same(t, await built(t, { disk }, { ...options, locks: only }), { disk }, { identity })
    await same(t, await built(t, { disk: Buffer.alloc(0) }, { locks: only }), {}, { identity })
  })
})
