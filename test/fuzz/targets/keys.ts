import { createPublicKey } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { readIdentity, readRecipient } from '../../../lib/crypto/keys.js'
import { unlock } from '../../../lib/crypto/unlock.js'
import { encodeKeySlot } from '../../../lib/format/key-slots.js'
import { formatLimits } from '../../../lib/limits.js'
import { fuzzPassphrase, passphraseSlot } from '../encode.js'
import { certificate, encryptedPkcs8, keyPassphrase, pkcs12, pkcs12Modern, pkcs8 } from '../fixtures.js'
import { mutate } from '../mutate.js'
import { randomOf, type Random } from '../random.js'
import type { Keep, Target } from '../target.js'
import { attempt } from '../verdict.js'

function pemOf(label: string, der: Buffer): Buffer {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return Buffer.from(`-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`)
}

interface KeyFile {
  readonly name: string
  readonly der: Buffer
  /** In PEM; without one the file is DER. */
  readonly label?: string
}
const privateLabel = ['PRIVATE', 'KEY'].join(' ')
const files: readonly KeyFile[] = [
  { name: 'certificate', der: certificate, label: 'CERTIFICATE' },
  { name: 'private key', der: pkcs8, label: privateLabel },
  { name: 'encrypted key', der: encryptedPkcs8, label: `ENCRYPTED ${privateLabel}` },
  { name: 'PKCS #12', der: pkcs12 },
  { name: 'PKCS #12 of OpenSSL 3', der: pkcs12Modern }
]
const modulusBits = [2048, 3072, 4096]

/** Files of keys, changed in their DER or in their PEM. */
export function keysTarget(): Target {
  return {
    name: 'keys',
    share: 15,
    make(words, keep) {
      const random = randomOf(...words)
      const { name, der, label } = random.pick(files)
      const story = [name]
      let changed = der
      if (random.chance(70)) changed = mutateSome(changed, random, keep, story)
      let file = label === undefined ? changed : pemOf(random.chance(95) ? label : 'PUBLIC KEY', changed)
      if (changed === der || random.chance(20)) file = mutateSome(file, random, keep, story)
      return Promise.resolve({
        bytes: file,
        story,
        async check(report) {
          const passphrase = (): Promise<Buffer> => Promise.resolve(Buffer.from(keyPassphrase))
          const recipient = await attempt(report, 'readRecipient', () =>
            readRecipient(file.toString('latin1'), 'k')
          )
          const identity = await attempt(report, 'readIdentity', () =>
            readIdentity(Buffer.from(file), 'k', passphrase)
          )
          for (const found of [recipient, identity]) {
            const bits = found.isOk ? (found.value.asymmetricKeyDetails?.modulusLength ?? 0) : 2048
            if (bits < Math.min(...modulusBits) || bits > Math.max(...modulusBits))
              report('a key of a wrong size', `${bits} bits`)
          }
          if (identity.isOk) await attempt(report, 'createPublicKey', () => createPublicKey(identity.value))
          return undefined
        }
      })
    }
  }
}

function mutateSome(bytes: Buffer, random: Random, keep: Keep, story: string[]): Buffer {
  let changed = bytes
  const count = 1 + random.below(3)
  for (let i = 0; i < count; i++) {
    const own = randomOf(random.below(2 ** 32))
    if (!keep(story.length)) {
      story.push('nothing')
      continue
    }
    const done = mutate(changed, own)
    changed = done.bytes
    story.push(done.told)
  }
  return changed
}

const slotSize = formatLimits.keySlotSize

/** Areas of key slots: the right key opens, or a named error tells why not; never another key. */
export function slotsTarget(): Target {
  const dataKey = Buffer.alloc(32, 'data key')
  const headerDigest = Buffer.alloc(32, 'digest')
  return {
    name: 'slots',
    share: 30,
    make(words) {
      const random = randomOf(...words)
      const area = Buffer.alloc(formatLimits.keySlotCount * slotSize)
      const story: string[] = []
      for (let slot = 0; slot < formatLimits.keySlotCount; slot++) {
        const bytes = area.subarray(slot * slotSize, (slot + 1) * slotSize)
        const kind = random.below(8)
        if (kind === 0) bytes.set(passphraseSlot(dataKey, headerDigest))
        else if (kind === 1) bytes.set(passphraseSlot(dataKey, Buffer.alloc(32, 'other')))
        else if (kind === 2) {
          const wrappedKey = random.bytes(random.pick([0, 1, 256, 512, 596]))
          bytes.set(encodeKeySlot({ type: 'recipient', keyId: random.bytes(32), wrappedKey }))
        } else if (kind === 3) random.bytes(slotSize).copy(bytes)
        else continue
        const at = random.below(random.chance(80) ? 12 : slotSize)
        // Costs out of bounds are refused before they cost anything; within them most are cheap.
        if (random.chance(50)) random.bytes(1).copy(bytes, at)
        if (kind < 2 && random.chance(30)) capCost(bytes, random)
        if (random.chance(80)) bytes.writeUInt32LE(crc32(bytes.subarray(0, slotSize - 4)), slotSize - 4)
        story.push(`slot ${slot} of kind ${kind}, byte ${at}`)
      }
      limitWork(area)
      return Promise.resolve({
        bytes: area,
        story,
        async check(report) {
          const opened = await attempt(report, 'unlock', () =>
            unlock(area, headerDigest, { passphrase: fuzzPassphrase }, 'x.st')
          )
          if (opened.isOk && !dataKey.equals(opened.value)) report('a wrong key opens', '')
          return undefined
        }
      })
    }
  }
}

function capCost(slot: Buffer, random: Random): void {
  slot.set(
    random.pick([
      [9, 1, 1],
      [10, 2, 1],
      [11, 1, 16],
      [20, 33, 1],
      [12, 8, 17],
      [255, 255, 255]
    ] as const),
    5
  )
}

/** No slot that takes more than a moment: how long the costliest take is known, and not what is looked for. */
function limitWork(area: Buffer): void {
  for (let at = 0; at < area.length; at += slotSize) {
    const [logN = 0, r = 0, p = 0] = area.subarray(at + 5, at + 8)
    if (area[at] === 1 && 2 ** logN * r * p > 2 ** 15 && logN <= 20 && r <= 32 && p <= 16) area[at + 5] = 9
  }
}
