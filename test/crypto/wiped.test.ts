import crypto from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import t from 'tap'
import { withCredentials } from '../../lib/commands/credentials.js'
import { makeKeyPair } from '../../lib/crypto/keys.js'
import type { Credentials } from '../../lib/crypto/unlock.js'
import { build, openSnapshot, recoverStream, verifySnapshot } from '../../lib/index.js'
import type { ByteSource } from '../../lib/reader/byte-source.js'
import { randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { scratch } from '../helpers/run-cli.js'
import { bytesSource, cheapScrypt, makeRsaPair } from './sealed.js'

/*
 * What goes into node:crypto as a key or passphrase, what comes out of it as one, and the shared memory of
 * the data key are recorded here, by the very buffer. When the work is done or has failed, all are zeros.
 */

const secrets: { name: string; bytes: Uint8Array }[] = []
const note = (name: string, bytes: unknown): void => {
  if (bytes instanceof Uint8Array) secrets.push({ name, bytes })
}

const forget = (bytes: unknown): void => {
  const index = secrets.findIndex((secret) => secret.bytes === bytes)
  if (index !== -1) secrets.splice(index, 1)
}

/** Wraps a function of node:crypto, for every module that imports it. */
function watch(name: keyof typeof crypto, seen: (args: unknown[], result: unknown) => void): void {
  const original = crypto[name] as (...args: unknown[]) => unknown
  Object.assign(crypto, {
    [name]: (...args: unknown[]): unknown => {
      const result = original(...args)
      seen(args, result)
      return result
    }
  })
}
const { scrypt } = crypto
Object.assign(crypto, {
  scrypt: (...[passphrase, salt, size, options, done]: Parameters<typeof scrypt>) => {
    note('passphrase', passphrase)
    forget(salt)
    scrypt(passphrase, salt, size, options, (error, key) => {
      note('derived key', key)
      done(error, key)
    })
  }
})
watch('randomBytes', ([size], result) => {
  if (size === 32) note('random key', result)
})
watch('createCipheriv', ([, key]) => note('key of a cipher', key))
watch('createDecipheriv', ([, key]) => note('key of a decipher', key))
watch('privateDecrypt', (_, result) => note('unwrapped key', result))
watch('createPrivateKey', ([given]) => {
  const { key, passphrase } = given as { key: unknown; passphrase: unknown }
  note('file of a private key', key)
  note('passphrase', passphrase)
})
syncBuiltinESMExports()

const { SharedArrayBuffer: Original } = globalThis
globalThis.SharedArrayBuffer = class extends Original {
  constructor(size: number) {
    super(size)
    if (size === 32) note('shared data key', new Uint8Array(this))
  }
} as unknown as typeof Original

/** What was met since the last call; what is not zeros by now is marked. */
function met(): string {
  const names = secrets.map(({ name, bytes }) => (bytes.every((byte) => byte === 0) ? name : `${name} LEFT`))
  secrets.length = 0
  return [...new Set(names)].sort().join(', ')
}

const { publicKey, privateKey } = makeRsaPair(2048)
const pem = privateKey.export({
  type: 'pkcs8',
  format: 'pem',
  cipher: 'aes-256-cbc',
  passphrase: 'correct horse'
})
const passphrase = 'correct horse'
const whenPassphrase = 'derived key, key of a decipher, passphrase, shared data key'
const whenIdentity = 'key of a decipher, shared data key, unwrapped key'

async function make(recipientCount: number): Promise<Buffer> {
  const pieces: Buffer[] = []
  const target = new Writable({
    write(piece: Buffer, _, done) {
      pieces.push(Buffer.from(piece))
      done()
    }
  })
  const recipients = Array.from({ length: recipientCount }, () => publicKey)
  const locks = { passphrase, recipients, scrypt: cheapScrypt }
  await build({ source: Readable.from([randomBytes(5000, 1)]), target, concurrency: 1, locks })
  return Buffer.concat(pieces)
}

const snapshot = await make(1)
const damaged = Buffer.from(snapshot)
damaged[damaged.length - 50] = (damaged.at(-50) ?? 0) ^ 1 // in the footer: found when it is unlocked
const source = bytesSource(snapshot)

await t.test('when a build ends, and when it fails', async (t) => {
  t.equal(met(), 'derived key, key of a cipher, passphrase, random key, shared data key')
  t.match(await rejected(make(16)), /^LimitError LIMIT: a snapshot has 16 key slots; 17 keys were given/)
  t.equal(met(), '', 'refused before a key is made')
})

await t.test('when a snapshot is closed; while it is open, only the data key is kept', async (t) => {
  const opened = await openSnapshot(source, { passphrase })
  t.equal(met(), 'derived key, key of a decipher, key of a decipher LEFT, passphrase, shared data key LEFT')
  await opened.close()
  await (await openSnapshot(source, { identity: privateKey })).close()
  t.equal(met(), whenIdentity)
  await verifySnapshot(source, { passphrase, concurrency: 0 })
  t.equal(met(), whenPassphrase)
  await recoverStream(source, { writeAt: () => Promise.resolve() }, { passphrase })
  t.equal(met(), whenPassphrase)
})

await t.test('when it fails to open', async (t) => {
  const from = bytesSource(damaged)
  const checksum = /^CorruptError BAD_CHECKSUM: /
  t.match(await rejected(openSnapshot(from, { passphrase })), checksum)
  t.equal(met(), 'derived key, key of a decipher, passphrase, shared data key')
  t.match(await rejected(verifySnapshot(from, { identity: privateKey })), checksum)
  t.equal(met(), 'shared data key, unwrapped key')
  t.equal(
    await rejected(openSnapshot(source, { passphrase, concurrency: 65 })),
    'UsageError USAGE: concurrency 65 is not a whole number from 1 to 64'
  )
  t.equal(met(), whenPassphrase)
  t.match(await rejected(verifySnapshot(source, { passphrase, concurrency: 65 })), /^UsageError /)
  t.equal(met(), whenPassphrase)
  t.match(await rejected(openSnapshot(source, { passphrase: 'wrong' })), /^KeyError KEY_WRONG/)
  t.equal(met(), 'derived key, key of a decipher, passphrase')
  const broken: ByteSource = {
    ...source,
    read: (offset, size) =>
      offset + size === source.size ? Promise.reject(new Error('broken')) : source.read(offset, size)
  }
  const target = { writeAt: () => Promise.resolve() }
  t.equal(await rejected(recoverStream(broken, target, { identity: privateKey })), 'Error: broken')
  t.equal(met(), 'shared data key, unwrapped key')
})

await t.test('a passphrase that the command line read, and the file of an identity', async (t) => {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  writeFileSync(at('p'), `${passphrase}\n`)
  writeFileSync(at('k.pem'), pem)
  const { signal } = new AbortController()
  const use = (credentials: Credentials): Promise<Credentials> => {
    t.equal(String(credentials.passphrase), passphrase)
    return Promise.resolve(credentials)
  }
  const lent = await withCredentials(
    { input: [], places: [], flags: { passphraseFile: at('p') } },
    source,
    signal,
    use
  )
  t.strictSame(lent.passphrase, Buffer.alloc(passphrase.length))
  const fails = (): Promise<never> => Promise.reject(new Error('later'))
  const flags = { passphraseFile: at('p'), identity: at('k.pem') }
  t.equal(
    await rejected(withCredentials({ input: [], places: [], flags }, source, signal, fails)),
    'Error: later'
  )
  t.equal(met(), 'file of a private key, passphrase')
})

await t.test('a new key pair', async (t) => {
  await makeKeyPair(2048, 'x', 9, Buffer.from(passphrase))
  t.equal(met(), 'key of a cipher')
})
