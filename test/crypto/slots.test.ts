import { constants, createHash, privateDecrypt, scryptSync, type KeyObject } from 'node:crypto'
import t from 'tap'
import { decrypt, wipe } from '../../lib/crypto/sealing.js'
import { keyIdOf, lock, makeSlots, wrapForRecipient, wrapWithPassphrase } from '../../lib/crypto/slots.js'
import { normalizePassphrase } from '../../lib/crypto/passphrase.js'
import { unlock } from '../../lib/crypto/unlock.js'
import {
  decodeKeySlot,
  encodeKeySlot,
  type KeySlot,
  type PassphraseSlot
} from '../../lib/format/key-slots.js'
import { formatLimits } from '../../lib/limits.js'
import { hex } from '../helpers/bytes.js'
import { randomBytes } from '../helpers/data.js'
import { caught, rejected } from '../helpers/errors.js'
import { cheapScrypt, headerOf, makeRsaPair } from './sealed.js'
import { blake3 } from '../../lib/format/digest.js'

const dataKey = randomBytes(32, 1)
const headerDigest = blake3(Buffer.from('a header'))
const passphrase = Buffer.from('correct horse')
const pair = makeRsaPair()
const header = headerOf({ streams: [Buffer.alloc(0)] })

const area = (...slots: readonly KeySlot[]): Buffer =>
  Buffer.concat(Array.from({ length: formatLimits.keySlotCount }, (_, i) => encodeKeySlot(slots[i])))
const open = (
  slots: Uint8Array,
  credentials: { passphrase?: Uint8Array; identity?: KeyObject }
): Promise<Buffer> => unlock(slots, headerDigest, credentials, 'a.st')

await t.test('a passphrase slot is what the construction says', async (t) => {
  const slot = await wrapWithPassphrase(dataKey, headerDigest, passphrase)
  t.strictSame([slot.logN, slot.r, slot.p, slot.salt.length, slot.nonce.length], [15, 8, 3, 32, 12])
  const key = scryptSync(passphrase, slot.salt, 32, { N: 2 ** 15, r: 8, p: 3, maxmem: 256 << 20 })
  const aad = Buffer.concat([Buffer.from('hexz 1 slot\0'), headerDigest])
  t.equal(hex(decrypt(key, slot.nonce, aad, slot.wrappedKey, slot.tag) ?? Buffer.alloc(0)), hex(dataKey))
  t.equal(hex(await open(area(slot), { passphrase })), hex(dataKey))
  const cheap = await wrapWithPassphrase(dataKey, headerDigest, passphrase, cheapScrypt)
  t.match(cheap, cheapScrypt)
  t.equal(
    await rejected(open(area(cheap), { passphrase: Buffer.from('correct horsf') })),
    'KeyError KEY_WRONG: the passphrase is wrong: no key slot of a.st opens with it'
  )
  t.equal(
    await rejected(unlock(area(cheap), blake3(Buffer.from('another')), { passphrase }, 'a.st')),
    'KeyError KEY_WRONG: the passphrase is wrong: no key slot of a.st opens with it',
    'a slot opens under its own header only'
  )
  t.equal(
    await rejected(wrapWithPassphrase(dataKey, headerDigest, passphrase, { ...cheapScrypt, logN: 9 })),
    'LimitError LIMIT: scrypt N = 2^9, r = 1, p = 1 is out of bounds'
  )
})

await t.test('a recipient slot is RSA-OAEP with SHA-256, and names the key', async (t) => {
  const slot = wrapForRecipient(dataKey, pair.publicKey)
  const { privateKey: key } = pair
  const opened = privateDecrypt(
    { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
    slot.wrappedKey
  )
  t.equal(hex(opened), hex(dataKey))
  const spki = pair.publicKey.export({ type: 'spki', format: 'der' })
  t.equal(hex(slot.keyId), createHash('sha256').update(spki).digest('hex'))
  t.equal(hex(keyIdOf(pair.publicKey)), hex(slot.keyId))
  t.equal(hex(await open(area(slot), { identity: key })), hex(dataKey))
})

await t.test('both kinds beside each other', async (t) => {
  const locks = { passphrase, recipients: [pair.publicKey], scrypt: cheapScrypt }
  const slots = await makeSlots(dataKey, headerDigest, locks)
  t.equal(slots.length, 16 * 640)
  const { privateKey: identity } = pair
  t.equal(hex(await open(slots, { passphrase })), hex(dataKey))
  t.equal(hex(await open(slots, { identity })), hex(dataKey))
  t.equal(
    await rejected(open(slots, {})),
    'KeyError KEY_MISSING: a.st is encrypted, and neither a passphrase nor an identity is given'
  )
  const recipients = Array.from({ length: 17 }, () => pair.publicKey)
  t.equal(
    caught(() => lock(header, { recipients })),
    'LimitError LIMIT: a snapshot has 16 key slots; 17 keys were given'
  )
  t.equal(
    caught(() => lock(header, {})),
    'UsageError USAGE: no passphrase or recipient is given, so nobody could open the snapshot'
  )
  t.equal(
    caught(() => lock(header, { passphrase, scrypt: { ...cheapScrypt, logN: 9 } })),
    'LimitError LIMIT: scrypt N = 2^9, r = 1, p = 1 is out of bounds'
  )
  t.equal(
    hex(
      await open(await makeSlots(dataKey, headerDigest, { recipients: recipients.slice(1) }), { identity })
    ),
    hex(dataKey)
  )
})

await t.test('a slot that lies about the size of its wrapped key is a damaged one', (t) => {
  const bytes = encodeKeySlot({ type: 'recipient', keyId: Buffer.alloc(32), wrappedKey: Buffer.alloc(596) })
  t.equal(decodeKeySlot(bytes, 'slot')?.type, 'recipient', 'as large as fits')
  t.equal(
    caught(() =>
      encodeKeySlot({ type: 'recipient', keyId: Buffer.alloc(32), wrappedKey: Buffer.alloc(597) })
    ),
    'LimitError LIMIT: a wrapped key of 597 bytes does not fit a key slot; use RSA up to 4096 bits'
  )
  t.end()
})

await t.test('passphrases compare as people see them', (t) => {
  t.equal(hex(normalizePassphrase('pass\r\n')), hex(Buffer.from('pass')))
  t.equal(hex(normalizePassphrase('e\u0301')), hex(Buffer.from('\u00e9')), 'NFC')
  t.equal(hex(normalizePassphrase(' p p ')), hex(Buffer.from(' p p ')), 'spaces count')
  for (const empty of ['', '\n', '\r\n'])
    t.equal(
      caught(() => normalizePassphrase(empty)),
      'KeyError KEY_MISSING: the passphrase is empty; give one of at least one character'
    )
  t.end()
})

await t.test('every snapshot gets a data key, salt and nonce of its own', async (t) => {
  const locks = { passphrase, recipients: [pair.publicKey], scrypt: cheapScrypt }
  const made = [lock(header, locks), lock(header, locks)]
  const keys = made.map(({ sealing }) => hex(sealing.dataKey))
  t.not(keys[0], keys[1])
  const areas = await Promise.all(made.map(({ keySlots }) => keySlots))
  const slots = areas.map((slots) => decodeKeySlot(slots.subarray(0, 640), 'slot') as PassphraseSlot)
  for (const field of ['salt', 'nonce', 'wrappedKey'] as const)
    t.equal(new Set(slots.map((slot) => hex(slot[field]))).size, 2, field)
  const [first] = made
  wipe(first?.sealing.dataKey)
  t.equal(hex(first?.sealing.dataKey ?? Buffer.alloc(0)), '00'.repeat(32), 'wiped')
})
