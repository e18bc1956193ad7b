import { createCipheriv, createDecipheriv, scryptSync } from 'node:crypto'
import { crc32 } from 'node:zlib'
import t from 'tap'
import {
  decrypt,
  makeSealing,
  openFooter,
  openFrame,
  sealFooter,
  sealFrame
} from '../../lib/crypto/sealing.js'
import { splitFooter } from '../../lib/format/footer.js'
import { encodeFrame } from '../../lib/format/frame.js'
import { randomBytes } from '../helpers/data.js'
import { hex, unhex } from '../helpers/bytes.js'
import { caught } from '../helpers/errors.js'
import { blake3 } from '../../lib/format/digest.js'

/** AES-256 vectors of McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B. */
const gcmVectors = [
  {
    name: '13: nothing',
    key: '00'.repeat(32),
    nonce: '00'.repeat(12),
    plain: '',
    aad: '',
    sealed: '',
    tag: '530f8afbc74536b9a963b4f1c4cb738b'
  },
  {
    name: '14: a block of zeros',
    key: '00'.repeat(32),
    nonce: '00'.repeat(12),
    plain: '00'.repeat(16),
    aad: '',
    sealed: 'cea7403d4d606b6e074ec5d3baf39d18',
    tag: 'd0d1c8a799996bf0265b98b5d48ab919'
  },
  {
    name: '16: associated data',
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308',
    nonce: 'cafebabefacedbaddecaf888',
    plain: `d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
            1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39`,
    aad: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
    sealed: `522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
             8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662`,
    tag: '76fc6ece0f4e1768cddf8853bb2d551b'
  }
]

await t.test('AES-256-GCM: published vectors, through what opens slots and frames', (t) => {
  for (const { name, key, nonce, plain, aad, sealed, tag } of gcmVectors) {
    const open = (tagHex: string): Buffer | undefined =>
      decrypt(unhex(key), unhex(nonce), unhex(aad), unhex(sealed), unhex(tagHex))
    t.equal(hex(open(tag) ?? Buffer.from('none')), hex(unhex(plain)), name)
    t.equal(
      open(`${tag.slice(0, -1)}${tag.endsWith('0') ? '1' : '0'}`),
      undefined,
      `${name}: one bit of the tag`
    )
  }
  t.end()
})

await t.test('scrypt: the vectors of RFC 7914, section 12', (t) => {
  const cases = [
    ['', '', { N: 16, r: 1, p: 1 }, '77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442'],
    [
      'password',
      'NaCl',
      { N: 1024, r: 8, p: 16 },
      'fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162'
    ],
    [
      'pleaseletmein',
      'SodiumChloride',
      { N: 16384, r: 8, p: 1 },
      '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2'
    ]
  ] as const
  // The first 32 of the 64 bytes that the RFC prints: the length does not enter into them.
  for (const [passphrase, salt, options, expected] of cases)
    t.equal(hex(scryptSync(passphrase, salt, 32, { ...options, maxmem: 64 << 20 })), expected, passphrase)
  t.end()
})

const dataKey = randomBytes(32, 1)
const header = Buffer.from('a header')
const sealing = makeSealing(dataKey, header)
const frame = encodeFrame(randomBytes(100, 2), { type: 'block', rawSize: 92 })

/** The construction of docs/security.md, from nothing but node:crypto. */
function sealByHand(offset: number): Buffer {
  const head = Buffer.alloc(16)
  head[4] = 7
  head.writeUInt32LE(frame.length + 16, 12)
  const nonce = Buffer.alloc(12)
  nonce.writeBigUInt64BE(BigInt(offset), 4)
  const cipher = createCipheriv('aes-256-gcm', dataKey, nonce)
  cipher.setAAD(Buffer.concat([Buffer.from('hexz 1 frame\0'), blake3(header), head.subarray(4)]))
  const body = Buffer.concat([cipher.update(frame), cipher.final()])
  const sealed = Buffer.concat([head, body, cipher.getAuthTag()])
  sealed.writeUInt32LE(crc32(sealed.subarray(4)))
  return sealed
}

await t.test('a sealed frame is what the construction says, and opens at its own offset only', (t) => {
  for (const offset of [0, 10309, 2 ** 32, 2 ** 48 - 1]) {
    const sealed = new Uint8Array(frame.length + 32).fill(0xaa)
    sealFrame(sealing, frame, offset, sealed)
    t.equal(hex(sealed), hex(sealByHand(offset)), `at ${offset}`)
    t.equal(hex(openFrame(sealing, sealed, 'a.st', offset)), hex(frame))
    const elsewhere = offset === 0 ? 1 : offset - 1
    t.equal(
      caught(() => openFrame(sealing, sealed, 'a.st', elsewhere)),
      `CorruptError BAD_SEAL: a.st is damaged at byte ${elsewhere}: what is there was not sealed for this place in this snapshot`
    )
  }
  t.end()
})

await t.test('a sealed frame opens under its own header and key only, and as it is only', (t) => {
  const sealed = sealByHand(500)
  const message =
    'CorruptError BAD_SEAL: a.st is damaged at byte 500: what is there was not sealed for this place in this snapshot'
  const others = [makeSealing(dataKey, Buffer.from('a headeR')), makeSealing(randomBytes(32, 3), header)]
  for (const other of others)
    t.equal(
      caught(() => openFrame(other, sealed, 'a.st', 500)),
      message
    )
  // Whoever tampers also sets the checksum right.
  const seen = new Map<string, number>()
  for (let at = 4; at < sealed.length; at++) {
    const tampered = Buffer.from(sealed)
    tampered[at] = (tampered[at] ?? 0) ^ (1 << (at & 7))
    tampered.writeUInt32LE(crc32(tampered.subarray(4)))
    const text = caught(() => openFrame(sealing, tampered, 'a.st', 500)).replace(/:.*/s, '')
    seen.set(text, (seen.get(text) ?? 0) + 1)
  }
  t.strictSame([...seen.keys()].sort(), [
    'CorruptError BAD_SEAL',
    'CorruptError BAD_STRUCTURE', // type and sizes that no sealed frame has
    'UnsupportedError UNKNOWN_FEATURE' // codec and flags that are not known
  ])
  t.ok((seen.get('CorruptError BAD_SEAL') ?? 0) >= frame.length + 16, 'the whole ciphertext and tag')
  t.end()
})

await t.test('the footer is sealed under a context of its own', (t) => {
  const body = randomBytes(64, 4)
  const footer = sealFooter(sealing, body, 900)
  const nonce = Buffer.alloc(12)
  nonce.writeBigUInt64BE(900n, 4)
  const decipher = createDecipheriv('aes-256-gcm', dataKey, nonce, { authTagLength: 16 })
  decipher.setAAD(Buffer.concat([Buffer.from('hexz 1 footer\0'), blake3(header)]))
  decipher.setAuthTag(footer.subarray(64, 80))
  t.equal(hex(Buffer.concat([decipher.update(footer.subarray(0, 64)), decipher.final()])), hex(body))
  t.equal(hex(openFooter(sealing, splitFooter(footer, 'a.st'), 'a.st', 900)), hex(body))
  t.equal(
    caught(() => openFooter(sealing, splitFooter(footer, 'a.st'), 'a.st', 901)),
    'CorruptError BAD_SEAL: a.st is damaged at byte 901: what is there was not sealed for this place in this snapshot'
  )
  t.end()
})
