import crypto, { createPrivateKey, createPublicKey, generatePrimeSync, type KeyObject } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { crc32 } from 'node:zlib'
import t from 'tap'
import { decrypt, makeSealing, openFrame, sealFrame } from '../../lib/crypto/sealing.js'
import { keyIdOf, readSlots, wrapForRecipient, wrapWithPassphrase } from '../../lib/crypto/slots.js'
import { unlock, type Credentials } from '../../lib/crypto/unlock.js'
import { blake3 } from '../../lib/format/digest.js'
import { encodeFrame } from '../../lib/format/frame.js'
import { encodeKeySlot, type PassphraseSlot } from '../../lib/format/key-slots.js'
import { formatLimits } from '../../lib/limits.js'
import { hex } from '../helpers/bytes.js'
import { randomBytes } from '../helpers/data.js'
import { caught, rejected } from '../helpers/errors.js'
import { cheapScrypt, makeRsaPair } from './sealed.js'

const dataKey = randomBytes(32, 1)
const headerDigest = blake3(Buffer.from('a header'))
const passphrase = 'correct horse'
const { publicKey, privateKey: identity } = makeRsaPair()
const stranger = makeRsaPair()

const honest = await wrapWithPassphrase(dataKey, headerDigest, passphrase, cheapScrypt)
const passphraseSlot = encodeKeySlot(honest)
const recipientSlot = encodeKeySlot(wrapForRecipient(dataKey, publicKey))
const strangersSlot = encodeKeySlot(wrapForRecipient(dataKey, stranger.publicKey))

/** The area with these slots, the others empty. */
const area = (...slots: readonly Uint8Array[]): Buffer => {
  const { keySlotCount, keySlotSize } = formatLimits
  return Buffer.concat(slots, keySlotCount * keySlotSize)
}
const open = async (slots: Uint8Array, credentials: Credentials): Promise<string> =>
  hex(await unlock(slots, headerDigest, credentials, 'a.st'))

/** A slot with some bytes changed and its checksum made right. */
function changed(slot: Uint8Array, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(slot)
  change(bytes)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 636)), 636)
  return bytes
}

/** A slot as a newer version may write it. */
const newer = (kind: number, scheme: number): Buffer =>
  changed(randomBytes(640, kind * 100 + scheme), (bytes) => {
    bytes[0] = kind
    bytes[4] = scheme
  })

const wrongPassphrase = 'KeyError KEY_WRONG: the passphrase is wrong: no key slot of a.st opens with it'
const wrongIdentity = 'KeyError KEY_WRONG: the identity is wrong: no key slot of a.st opens with it'

await t.test('slots of a newer kind or scheme: passed over, and named when no other opens', async (t) => {
  t.strictSame(readSlots(area(newer(3, 1), newer(1, 2)), 'a.st').slice(0, 3), [
    { type: 'unknown', kind: 3, scheme: 1 },
    { type: 'unknown', kind: 1, scheme: 2 },
    undefined
  ])
  const slots = area(newer(3, 1), newer(1, 2), newer(2, 7), passphraseSlot, recipientSlot)
  t.equal(await open(slots, { passphrase }), hex(dataKey))
  t.equal(await open(slots, { identity }), hex(dataKey))
  const unknown = (slot: number, kind: string): string =>
    `slot ${slot} is of a kind (${kind}) that this hexz does not know: use a newer hexz`
  t.equal(
    await rejected(open(slots, { passphrase: 'wrong' })),
    `UnsupportedError UNKNOWN_FEATURE: no key slot of a.st opens with this passphrase; ${unknown(0, '3.1')}; ${unknown(1, '1.2')}`,
    'another scheme for recipients says nothing about a passphrase'
  )
  t.equal(
    await rejected(open(slots, { identity: stranger.privateKey })),
    `UnsupportedError UNKNOWN_FEATURE: no key slot of a.st opens with this identity; ${unknown(0, '3.1')}; ${unknown(2, '2.7')}`
  )
  t.equal(await rejected(open(area(newer(2, 7)), { passphrase })), wrongPassphrase)
  t.equal(await rejected(open(area(newer(1, 2)), { identity })), wrongIdentity)
})

await t.test('a slot that asks for too much: passed over, and named when no other opens', async (t) => {
  const before = process.memoryUsage.rss()
  const hostile: [Partial<PassphraseSlot>, string][] = [
    [{ logN: 63 }, 'N = 2^63, r = 1, p = 1'],
    [{ logN: 255, r: 255, p: 255 }, 'N = 2^255, r = 255, p = 255'],
    [{ logN: 0 }, 'N = 2^0, r = 1, p = 1'],
    [{ logN: 9 }, 'N = 2^9, r = 1, p = 1'],
    [{ logN: 19, r: 8 }, 'N = 2^19, r = 8, p = 1'], // 512 MiB
    [{ logN: 20, r: 3 }, 'N = 2^20, r = 3, p = 1'],
    [{ r: 0 }, 'N = 2^10, r = 0, p = 1'],
    [{ r: 33 }, 'N = 2^10, r = 33, p = 1'],
    [{ p: 0 }, 'N = 2^10, r = 1, p = 0'],
    [{ p: 17 }, 'N = 2^10, r = 1, p = 17'],
    [{ p: 255 }, 'N = 2^10, r = 1, p = 255']
  ]
  for (const [cost, text] of hostile) {
    const slot = encodeKeySlot({ ...honest, ...cost })
    t.equal(
      await rejected(open(area(slot), { passphrase })),
      `LimitError LIMIT: no key slot of a.st opens with this passphrase; slot 0 asks for scrypt ${text}, which is out of bounds`
    )
    t.equal(await open(area(slot, passphraseSlot), { passphrase }), hex(dataKey))
    t.equal(await open(area(slot, recipientSlot), { identity }), hex(dataKey))
    t.equal(await rejected(open(area(slot, strangersSlot), { identity })), wrongIdentity)
  }
  t.ok(process.memoryUsage.rss() - before < 64 << 20, 'nothing was allocated for them')
  // Odd costs that are in bounds do reach scrypt, and fail as a wrong passphrase.
  const odd = encodeKeySlot({ ...honest, r: 32, p: 16 })
  t.equal(await rejected(open(area(odd), { passphrase })), wrongPassphrase)
})

await t.test('all slots together ask for too much: the cheap ones are tried', async (t) => {
  let work = 0
  const { scrypt } = crypto
  t.teardown(() => {
    Object.assign(crypto, { scrypt })
    syncBuiltinESMExports()
  })
  Object.assign(crypto, {
    scrypt: (...[password, salt, size, options, done]: Parameters<typeof scrypt>) => {
      work += (options.N ?? 0) * (options.r ?? 0) * (options.p ?? 0)
      scrypt(password, salt, size, options, done)
    }
  })
  syncBuiltinESMExports()
  const costing = (cost: Partial<PassphraseSlot>): Uint8Array => encodeKeySlot({ ...honest, ...cost })
  const wrong = async (...slots: Uint8Array[]): Promise<string> => {
    work = 0
    return rejected(open(area(...slots), { passphrase: 'wrong' }))
  }
  // One of 2^24 and one of 2^10: the dear one alone would be in bounds.
  const dear = costing({ logN: 17, r: 8, p: 16 })
  const refusal = (slots: number[]): string =>
    `LimitError LIMIT: no key slot of a.st opens with this passphrase; ${slots
      .map(
        (slot) =>
          `slot ${slot} asks for scrypt N = 2^17, r = 8, p = 16, which is out of bounds together with the other slots`
      )
      .join('; ')}`
  t.equal(await wrong(dear, passphraseSlot), refusal([0]))
  t.equal(work, 2 ** 10)
  work = 0
  t.equal(await open(area(...Array<Uint8Array>(15).fill(dear), passphraseSlot), { passphrase }), hex(dataKey))
  t.equal(work, 2 ** 10, 'the one that asks for least comes first')
  const middle = costing({ logN: 10, r: 32, p: 16 }) // 2^19
  t.equal(await wrong(...Array<Uint8Array>(16).fill(middle)), wrongPassphrase)
  t.equal(work, 2 ** 23)
  t.equal(
    await wrong(costing({ logN: 18, r: 8, p: 9 }), passphraseSlot),
    'LimitError LIMIT: no key slot of a.st opens with this passphrase; slot 0 asks for scrypt N = 2^18, r = 8, p = 9, which is out of bounds'
  )
  t.equal(await open(area(dear, dear, recipientSlot), { identity }), hex(dataKey), 'RSA is not counted')
})

await t.test('damaged slots: passed over, and named when no other opens', async (t) => {
  const flipped = Buffer.from(passphraseSlot).fill(1, 100, 101)
  const tooLarge = changed(recipientSlot, (bytes) => bytes.writeUInt16LE(597, 6))
  const otherKey = changed(recipientSlot, (bytes) => bytes.fill(1, 40, 60))
  const tooShort = encodeKeySlot(wrapForRecipient(dataKey.subarray(0, 31), publicKey))
  t.equal(await open(area(flipped, tooLarge, otherKey, tooShort, recipientSlot), { identity }), hex(dataKey))
  t.equal(await open(area(flipped, tooLarge, passphraseSlot), { passphrase }), hex(dataKey))
  const checksum = 'slot 0 is damaged: its checksum is wrong'
  const sizes = 'slot 1 is damaged: its sizes are wrong'
  t.equal(
    await rejected(open(area(flipped, tooLarge, recipientSlot), { passphrase })),
    `CorruptError BAD_CHECKSUM: no key slot of a.st opens with this passphrase; ${checksum}; ${sizes}`
  )
  const names = 'is damaged: it names this identity, which does not open it'
  for (const slot of [otherKey, tooShort])
    t.equal(
      await rejected(open(area(slot, strangersSlot), { identity })),
      `CorruptError BAD_STRUCTURE: no key slot of a.st opens with this identity; slot 0 ${names}`
    )
  t.equal(await rejected(open(area(otherKey), { identity: stranger.privateKey })), wrongIdentity)

  // All that is in the way is told, with the code of the gravest.
  const costly = encodeKeySlot({ ...honest, logN: 63 })
  t.equal(
    await rejected(open(area(flipped, newer(1, 2), costly), { passphrase })),
    `CorruptError BAD_CHECKSUM: no key slot of a.st opens with this passphrase; ${checksum}; slot 1 is of a kind (1.2) that this hexz does not know: use a newer hexz; slot 2 asks for scrypt N = 2^63, r = 1, p = 1, which is out of bounds`
  )
  t.match(await rejected(open(area(newer(1, 2), costly), { passphrase })), /^LimitError LIMIT: /)
})

await t.test('passphrases as text and as bytes; what is no credential', async (t) => {
  const accented = 'p\u00e9'
  const slot = encodeKeySlot(await wrapWithPassphrase(dataKey, headerDigest, accented, cheapScrypt))
  t.equal(await open(area(slot), { passphrase: 'pe\u0301\n' }), hex(dataKey), 'text: NFC, no line end')
  t.equal(await open(area(slot), { passphrase: Buffer.from(accented) }), hex(dataKey))
  const raw = Buffer.from('pe\u0301')
  t.equal(await rejected(open(area(slot), { passphrase: raw })), wrongPassphrase, 'bytes: as they are')
  t.equal(raw.toString(), 'pe\u0301', 'bytes that were given are not wiped')
  for (const empty of ['', '\n', new Uint8Array(0)])
    t.equal(
      await rejected(open(area(slot), { passphrase: empty })),
      'KeyError KEY_MISSING: the passphrase is empty; give one of at least one character'
    )
  t.equal(
    await rejected(open(area(recipientSlot), { identity: publicKey })),
    'UsageError USAGE: an identity is a private key; this is a public one'
  )
})

/** Private keys that share primes: 1,000 of them cost no more than 46 primes. */
function* manyIdentities(): Generator<KeyObject> {
  const e = 65537n
  const primes: bigint[] = []
  while (primes.length < 46) {
    const prime = generatePrimeSync(512, { bigint: true })
    if ((prime - 1n) % e !== 0n) primes.push(prime)
  }
  const bytes = (n: bigint): string =>
    Buffer.from(n.toString(16).padStart(256, '0'), 'hex').toString('base64url')
  for (const [i, p] of primes.entries()) {
    for (const q of primes.slice(0, i)) {
      const [n, d] = [p * q, inverse(e, (p - 1n) * (q - 1n))]
      const numbers = { n, e, d, p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi: inverse(q, p) }
      const jwk = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, bytes(value)]))
      yield createPrivateKey({ key: { kty: 'RSA', ...jwk }, format: 'jwk' })
    }
  }
}

/** Of `a` modulo `m`, by Euclid. */
function inverse(a: bigint, m: bigint): bigint {
  let [r, next, x, nextX] = [m, a % m, 0n, 1n]
  while (next !== 0n) {
    const quotient = r / next
    ;[r, next] = [next, r - quotient * next]
    ;[x, nextX] = [nextX, x - quotient * nextX]
  }
  return ((x % m) + m) % m
}

await t.test('1,000 wrong passphrases, identities and data keys are refused', async (t) => {
  const refusals = new Map<string, number>()
  const count = (text: string): void => void refusals.set(text, (refusals.get(text) ?? 0) + 1)
  const counted = (): Record<string, number> => {
    const result = Object.fromEntries(refusals)
    refusals.clear()
    return result
  }
  const slots = area(passphraseSlot, recipientSlot)

  for (let seed = 0; seed < 1000; seed++)
    count(await rejected(open(slots, { passphrase: randomBytes(1 + (seed % 40), seed).toString('base64') })))
  t.strictSame(counted(), { [wrongPassphrase]: 1000 })

  const slot = wrapForRecipient(dataKey, publicKey)
  const inPlace =
    'CorruptError BAD_STRUCTURE: no key slot of a.st opens with this identity; slot 0 is damaged: it names this identity, which does not open it'
  let identityCount = 0
  for (const wrong of manyIdentities()) {
    count(await rejected(open(slots, { identity: wrong })))
    // The key id only says which to try. A slot that lies about it comes down to RSA.
    const keyId = keyIdOf(createPublicKey(wrong))
    count(await rejected(open(area(encodeKeySlot({ ...slot, keyId })), { identity: wrong })))
    identityCount += 1
  }
  t.ok(identityCount >= 1000)
  t.strictSame(counted(), { [wrongIdentity]: identityCount, [inPlace]: identityCount })

  const frame = encodeFrame(randomBytes(50, 2), { type: 'block', rawSize: 42 })
  const sealed = new Uint8Array(frame.length + 32)
  sealFrame(makeSealing(dataKey, Buffer.from('a header')), frame, 7, sealed)
  for (let seed = 2; seed < 1002; seed++) {
    const wrong = makeSealing(randomBytes(32, seed), Buffer.from('a header'))
    count(caught(() => openFrame(wrong, sealed, 'a.st', 7)))
  }
  for (let bit = 0; bit < 256; bit++) {
    const near = Buffer.from(dataKey)
    near[bit >> 3] = (near[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    count(caught(() => openFrame(makeSealing(near, Buffer.from('a header')), sealed, 'a.st', 7)))
  }
  const seal =
    'CorruptError BAD_SEAL: a.st is damaged at byte 7: what is there was not sealed for this place in this snapshot'
  t.strictSame(counted(), { [seal]: 1256 })

  // What a wrong passphrase comes down to: another derived key.
  const aad = Buffer.concat([Buffer.from('hexz 1 slot\0'), headerDigest])
  const opened = Array.from({ length: 1000 }, (_, seed) =>
    decrypt(randomBytes(32, seed), honest.nonce, aad, honest.wrappedKey, honest.tag)
  )
  t.strictSame(new Set(opened), new Set([undefined]))
})
