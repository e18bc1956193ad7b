import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  X509Certificate,
  type KeyObject
} from 'node:crypto'
import { promisify } from 'node:util'
import { KeyError } from '../errors.js'
import { checkSubject, selfSign } from './certificate.js'
import { encryptPrivateKey } from './encrypted-key.js'
import { keyFilePassphrases } from './passphrase.js'
import { pemBlocks, type PemBlock } from './pem.js'
import { parsePkcs12 } from './pkcs12.js'
import { wipe } from './sealing.js'

/** RSA keys, in bits, that recipients and identities may have. */
export const rsaBits = { min: 2048, max: 4096, default: 3072 } as const

const publicLabels = [
  'CERTIFICATE',
  'X509 CERTIFICATE',
  'TRUSTED CERTIFICATE',
  'PUBLIC KEY',
  'RSA PUBLIC KEY'
]

/**
 * A recipient's public key, from the first X.509 certificate or public key of a file in PEM.
 *
 * @throws KeyError for anything else, and for keys that are not RSA of 2048 to 4096 bits
 */
export function readRecipient(file: Buffer | string, name: string): KeyObject {
  const blocks = pemBlocks(typeof file === 'string' ? Buffer.from(file, 'latin1') : file)
  const block = blocks.find(({ label }) => publicLabels.includes(label))
  if (block === undefined && blocks.some(isPrivate)) {
    throw new KeyError(
      'KEY_UNUSABLE',
      `${name} holds a private key; a recipient is a certificate or a public key: openssl pkey -in ${name} -pubout`,
      { where: name }
    )
  }
  try {
    if (block === undefined) throw new Error('no block of PEM')
    const isCertificate = block.label.endsWith('CERTIFICATE')
    return checkRsa(
      isCertificate ? new X509Certificate(block.bytes).publicKey : createPublicKey(block.bytes),
      name
    )
  } catch (error) {
    if (error instanceof KeyError) throw error
    throw new KeyError('KEY_UNUSABLE', `${name} is neither a certificate nor a public key in PEM`, {
      where: name,
      cause: error
    })
  }
}

const isPrivate = ({ label }: PemBlock): boolean => /^(\w+ )?PRIVATE KEY$/.test(label)
const isEncrypted = ({ label, bytes }: PemBlock): boolean =>
  label.startsWith('ENCRYPTED') || bytes.includes('\nProc-Type: 4,ENCRYPTED')

/**
 * An identity's private key: the first of a file in PEM (PKCS#8, encrypted or not, or PKCS#1), or in PKCS#12.
 *
 * @param askPassphrase called when the file is encrypted, for the bytes as they were given. They are tried as text in NFC,
 * and then as they are: other programs encrypt with whatever was typed
 * @throws KeyError KEY_WRONG for a wrong passphrase, KEY_UNUSABLE for anything that is no RSA key
 */
export async function readIdentity(
  bytes: Buffer,
  name: string,
  askPassphrase: () => Promise<Buffer>
): Promise<KeyObject> {
  const blocks = pemBlocks(bytes)
  const block = blocks.find(isPrivate)
  if (block === undefined && blocks.length > 0) throw noPrivateKey(name, undefined)
  const open = block === undefined ? openPkcs12(bytes, name) : openPem(block)
  if (block !== undefined && !isEncrypted(block)) {
    try {
      return checkRsa(open(undefined), name)
    } catch (error) {
      throw error instanceof KeyError ? error : noPrivateKey(name, error)
    }
  }
  const passphrases = keyFilePassphrases(await askPassphrase())
  let cause: unknown
  try {
    for (const passphrase of passphrases) {
      try {
        return checkRsa(open(passphrase), name)
      } catch (error) {
        if (error instanceof KeyError) throw error
        cause = error
      }
    }
  } finally {
    wipe(...passphrases)
  }
  throw new KeyError('KEY_WRONG', `the passphrase of ${name} is wrong, or the file is damaged`, {
    where: name,
    cause
  })
}

type Open = (passphrase: Buffer | undefined) => KeyObject

function openPem({ bytes }: PemBlock): Open {
  return (passphrase) => createPrivateKey({ key: bytes, ...(passphrase === undefined ? {} : { passphrase }) })
}

function openPkcs12(bytes: Buffer, name: string): Open {
  try {
    const file = parsePkcs12(bytes)
    return (passphrase) => {
      const key = file.open(passphrase ?? Buffer.alloc(0))
      if (key !== undefined) return key
      throw new KeyError(
        'KEY_UNUSABLE',
        `${name} holds no RSA private key; only RSA keys of ${rsaBits.min} to ${rsaBits.max} bits work`,
        { where: name }
      )
    }
  } catch (error) {
    throw noPrivateKey(name, error)
  }
}

function noPrivateKey(name: string, cause: unknown): KeyError {
  return new KeyError('KEY_UNUSABLE', `${name} is not a private key in PEM or PKCS#12`, {
    where: name,
    cause
  })
}

function checkRsa(key: KeyObject, name: string): KeyObject {
  const kind = key.asymmetricKeyType
  if (kind !== 'rsa') {
    throw new KeyError(
      'KEY_UNUSABLE',
      `${name} holds a key of kind ${kind ?? 'unknown'}; only RSA keys of ${rsaBits.min} to ${rsaBits.max} bits work`,
      { where: name }
    )
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (bits < rsaBits.min || bits > rsaBits.max) {
    throw new KeyError(
      'KEY_UNUSABLE',
      `${name} holds an RSA key of ${bits} bits; ${rsaBits.min} to ${rsaBits.max} work`,
      { where: name }
    )
  }
  return key
}

export interface KeyPairFiles {
  /** PKCS#8 in PEM, encrypted (PBES2, AES-256-CBC) when a passphrase was given. */
  readonly privateKey: string
  /** Self-signed X.509 certificate in PEM. */
  readonly certificate: string
  readonly publicKey: KeyObject
}

/**
 * Makes an RSA key pair and a certificate that names it.
 *
 * @param subject common name of the certificate: 1 to 64 characters without control characters
 * @param days how long the certificate says it is valid; hexz itself does not look
 * @throws UsageError for another subject
 */
export async function makeKeyPair(
  bits: number,
  subject: string,
  days: number,
  passphrase: Uint8Array | undefined
): Promise<KeyPairFiles> {
  checkSubject(subject)
  const { privateKey, publicKey } = await promisify(generateKeyPair)('rsa', { modulusLength: bits })
  const certificate = selfSign(privateKey, publicKey, subject, days)
  if (passphrase === undefined) {
    const plain = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    return { privateKey: plain, certificate, publicKey }
  }
  const der = privateKey.export({ type: 'pkcs8', format: 'der' })
  try {
    return { privateKey: await encryptPrivateKey(der, passphrase), certificate, publicKey }
  } finally {
    wipe(der)
  }
}
