import { constants, createHash, privateDecrypt, scryptSync, type KeyObject } from 'node:crypto'
import t from 'tap'
import { decrypt, makeSealing, openFrame, sealFrame, wipe } from '../../lib/crypto/sealing.js'
import {
  keyIdOf,
  lock,
  makeSlots,
  normalizePassphrase,
  unlock,
  wrapForRecipient,
  wrapWithPassphrase
} from '../../lib/crypto/slots.js'
import { encodeFrame } from '../../lib/format/frame.js'
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
import { headerOf, makeRsaPair } from './sealed.js'
import { blake3 } from '../../lib/format/digest.js'

const dataKey = randomBytes(32, 1)
const headerDigest = blake3(Buffer.from('a header'))
const passphrase = Buffer.from('correct horse')
const pair = makeRsaPair()

const area = (...slots: readonly KeySlot[]): Buffer =>
  Buffer.concat(Array.from({ length: formatLimits.keySlotCount }, (_, i) => encodeKeySlot(slots[i])))
const open = (
  slots: Uint8Array,
  credentials: { passphrase?: Uint8Array; identity?: KeyObject }
): Promise<Buffer> => unlock(slots, headerDigest, credentials, 'a.st')

await t.test('a passphrase slot is what the construction says', async (t) => {
  const slot = await wrapWithPassphrase(dataKey, headerDigest, passphrase)
  t.strictSame([slot.logN, slot.r, slot.p, slot.salt.length, slot.nonce.length], [17, 8, 1, 32, 12])
  const key = scryptSync(passphrase, slot.salt, 32, { N: 2 ** 17, r: 8, p: 1, maxmem: 256 << 20 })
  const aad = Buffer.concat([Buffer.from('hexz 1 slot\0'), headerDigest])
  t.equal(hex(decrypt(key, slot.nonce, aad, slot.wrappedKey, slot.tag) ?? Buffer.alloc(0)), hex(dataKey))
  t.equal(hex(await open(area(slot), { passphrase })), hex(dataKey))
  t.equal(
    await rejected(open(area(slot), { passphrase: Buffer.from('correct horsf') })),
    'KeyError KEY_WRONG: the passphrase is wrong: no key slot of a.st opens with it'
  )
  t.equal(
    await rejected(unlock(area(slot), blake3(Buffer.from('another')), { passphrase }, 'a.st')),
    'KeyError KEY_WRONG: the passphrase is wrong: no key slot of a.st opens with it',
    'a slot opens under its own header only'
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

await t.test('both kinds beside each other; a damaged slot locks out its own key only', async (t) => {
  const slots = await makeSlots(dataKey, headerDigest, { passphrase, recipients: [pair.publicKey] })
  t.equal(slots.length, 16 * 640)
  const { privateKey: identity } = pair
  t.equal(hex(await open(slots, { passphrase })), hex(dataKey))
  t.equal(hex(await open(slots, { identity })), hex(dataKey))
  const damaged = Buffer.from(slots).fill(1, 100, 101)
  t.equal(hex(await open(damaged, { identity })), hex(dataKey))
  t.equal(
    await rejected(open(damaged, { passphrase })),
    'CorruptError BAD_CHECKSUM: no key slot of a.st opens with this key, and at least one slot is damaged'
  )
  t.equal(
    await rejected(open(slots, {})),
    'KeyError KEY_MISSING: a.st is encrypted; give --passphrase-file, --identity or HEXZ_PASSPHRASE'
  )
  const recipients = Array.from({ length: 17 }, () => pair.publicKey)
  t.equal(
    await rejected(makeSlots(dataKey, headerDigest, { recipients })),
    'LimitError LIMIT: a snapshot has 16 key slots; 17 keys were given'
  )
  t.equal(
    hex(
      await open(await makeSlots(dataKey, headerDigest, { recipients: recipients.slice(1) }), { identity })
    ),
    hex(dataKey)
  )
})

await t.test('1,000 wrong data keys open nothing; 20 wrong identities neither', async (t) => {
  const frame = encodeFrame(randomBytes(50, 2), { type: 'block', rawSize: 42 })
  const sealed = new Uint8Array(frame.length + 32)
  sealFrame(makeSealing(dataKey, Buffer.from('a header')), frame, 7, sealed)
  const refusals = new Map<string, number>()
  const count = (text: string): void => void refusals.set(text, (refusals.get(text) ?? 0) + 1)
  for (let seed = 2; seed < 1002; seed++) {
    const wrong = makeSealing(randomBytes(32, seed), Buffer.from('a header'))
    count(caught(() => openFrame(wrong, sealed, 'a.st', 7)))
  }
  for (let bit = 0; bit < 256; bit++) {
    const near = Buffer.from(dataKey)
    near[bit >> 3] = (near[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    count(caught(() => openFrame(makeSealing(near, Buffer.from('a header')), sealed, 'a.st', 7)))
  }
  t.strictSame(
    [...refusals],
    [
      [
        'CorruptError BAD_SEAL: a.st is damaged at byte 7: what is there was not sealed for this place in this snapshot',
        1256
      ]
    ]
  )

  // A wrapped key that 1,000 random derived keys are tried on: what a wrong passphrase comes down to.
  const slot = await wrapWithPassphrase(dataKey, headerDigest, passphrase)
  const aad = Buffer.concat([Buffer.from('hexz 1 slot\0'), headerDigest])
  const opened = Array.from({ length: 1000 }, (_, seed) =>
    decrypt(randomBytes(32, seed), slot.nonce, aad, slot.wrappedKey, slot.tag)
  )
  t.strictSame(new Set(opened), new Set([undefined]))

  // A key of 2048 bits takes long to make; 1,000 wrappings for other keys are as wrong for one identity.
  const strangers = [makeRsaPair(), makeRsaPair()]
  const wrong = Array.from({ length: 16 }, (_, i) =>
    wrapForRecipient(dataKey, (strangers[i % 2] ?? pair).publicKey)
  )
  for (let run = 0; run < 20; run++)
    t.equal(
      await rejected(open(area(...wrong), { identity: pair.privateKey })),
      'KeyError KEY_WRONG: the identity is wrong: no key slot of a.st opens with it'
    )
})

await t.test('a slot of a hostile snapshot cannot take all memory or time', async (t) => {
  const honest = await wrapWithPassphrase(dataKey, headerDigest, passphrase)
  const before = process.memoryUsage.rss()
  const hostile: [Partial<PassphraseSlot>, string][] = [
    [{ logN: 63 }, 'N = 2^63, r = 8, p = 1'],
    [{ logN: 255, r: 255, p: 255 }, 'N = 2^255, r = 255, p = 255'],
    [{ logN: 0 }, 'N = 2^0, r = 8, p = 1'],
    [{ logN: 9 }, 'N = 2^9, r = 8, p = 1'],
    [{ logN: 19 }, 'N = 2^19, r = 8, p = 1'], // 512 MiB
    [{ logN: 20, r: 3 }, 'N = 2^20, r = 3, p = 1'],
    [{ r: 0 }, 'N = 2^17, r = 0, p = 1'],
    [{ r: 33, logN: 10 }, 'N = 2^10, r = 33, p = 1'],
    [{ p: 0 }, 'N = 2^17, r = 8, p = 0'],
    [{ p: 17 }, 'N = 2^17, r = 8, p = 17'],
    [{ p: 255 }, 'N = 2^17, r = 8, p = 255']
  ]
  for (const [cost, text] of hostile)
    t.equal(
      await rejected(open(area({ ...honest, ...cost }), { passphrase })),
      `LimitError LIMIT: a key slot of a.st asks for scrypt with ${text}, which is out of bounds`
    )
  t.ok(process.memoryUsage.rss() - before < 64 << 20, 'nothing was allocated for them')
  // The least and an odd cost that are in bounds do reach scrypt, and fail as a wrong passphrase.
  for (const cost of [
    { logN: 10, r: 1, p: 1 },
    { logN: 10, r: 32, p: 16 }
  ])
    t.match(await rejected(open(area({ ...honest, ...cost }), { passphrase })), /^KeyError KEY_WRONG: /)
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
  const header = headerOf({ streams: [Buffer.alloc(0)] })
  const made = await Promise.all([1, 2].map(() => lock(header, { passphrase, recipients: [pair.publicKey] })))
  const keys = made.map(({ sealing }) => hex(sealing.dataKey))
  t.not(keys[0], keys[1])
  const slots = made.map(({ keySlots }) => decodeKeySlot(keySlots.subarray(0, 640), 'slot') as PassphraseSlot)
  for (const field of ['salt', 'nonce', 'wrappedKey'] as const)
    t.equal(new Set(slots.map((slot) => hex(slot[field]))).size, 2, field)
  const [first] = made
  wipe(first?.sealing.dataKey)
  t.equal(hex(first?.sealing.dataKey ?? Buffer.alloc(0)), '00'.repeat(32), 'wiped')
})
