import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  X509Certificate,
  type KeyObject
} from 'node:crypto'
import { promisify } from 'node:util'
import forge from 'node-forge'
import { KeyError } from '../errors.js'
import { encryptPrivateKey } from './encrypted-key.js'
import { wipe } from './sealing.js'

/** RSA keys, in bits, that recipients and identities may have. */
export const rsaBits = { min: 2048, max: 4096, default: 3072 } as const

/**
 * A recipient's public key, from an X.509 certificate or a public key in PEM.
 *
 * @throws KeyError for anything else, and for keys that are not RSA of 2048 to 4096 bits
 */
export function readRecipient(pem: string, name: string): KeyObject {
  if (pem.includes('PRIVATE KEY')) {
    throw new KeyError(
      'KEY_UNUSABLE',
      `${name} holds a private key; a recipient is a certificate or a public key: openssl pkey -in ${name} -pubout`,
      { where: name }
    )
  }
  try {
    const key = pem.includes('CERTIFICATE') ? new X509Certificate(pem).publicKey : createPublicKey(pem)
    return checkRsa(key, name)
  } catch (error) {
    if (error instanceof KeyError) throw error
    throw new KeyError('KEY_UNUSABLE', `${name} is neither a certificate nor a public key in PEM`, {
      where: name,
      cause: error
    })
  }
}

/**
 * An identity's private key, from PEM (PKCS#8, encrypted or not, or PKCS#1) or PKCS#12.
 *
 * @param askPassphrase called when the file is encrypted
 * @throws KeyError KEY_WRONG for a wrong passphrase, KEY_UNUSABLE for anything that is no RSA key
 */
export async function readIdentity(
  bytes: Buffer,
  name: string,
  askPassphrase: () => Promise<Buffer>
): Promise<KeyObject> {
  if (!bytes.includes('-----BEGIN')) return readPkcs12(bytes, name, await askPassphrase())
  const passphrase = bytes.includes('ENCRYPTED') ? await askPassphrase() : undefined
  try {
    return checkRsa(
      createPrivateKey({ key: bytes, ...(passphrase === undefined ? {} : { passphrase }) }),
      name
    )
  } catch (error) {
    if (error instanceof KeyError) throw error
    if (passphrase !== undefined)
      throw new KeyError('KEY_WRONG', `the passphrase of ${name} is wrong, or the file is damaged`, {
        where: name,
        cause: error
      })
    throw new KeyError('KEY_UNUSABLE', `${name} is not a private key in PEM or PKCS#12`, {
      where: name,
      cause: error
    })
  }
}

/** node:crypto does not open PKCS#12. */
function readPkcs12(bytes: Buffer, name: string, passphrase: Buffer): KeyObject {
  const asn1 = parseDer(bytes, name)
  try {
    const store = forge.pkcs12.pkcs12FromAsn1(asn1, passphrase.toString('utf8'))
    const { pkcs8ShroudedKeyBag, keyBag } = forge.pki.oids
    for (const type of [pkcs8ShroudedKeyBag, keyBag]) {
      const key = type === undefined ? undefined : store.getBags({ bagType: type })[type]?.[0]?.key
      if (key) return checkRsa(createPrivateKey(forge.pki.privateKeyToPem(key)), name)
    }
  } catch (error) {
    if (error instanceof KeyError) throw error
    throw new KeyError('KEY_WRONG', `the passphrase of ${name} is wrong, or the file is damaged`, {
      where: name,
      cause: error
    })
  }
  throw new KeyError(
    'KEY_UNUSABLE',
    `${name} holds no RSA private key; only RSA keys of ${rsaBits.min} to ${rsaBits.max} bits work`,
    { where: name }
  )
}

function parseDer(bytes: Buffer, name: string): forge.asn1.Asn1 {
  try {
    return forge.asn1.fromDer(bytes.toString('binary'))
  } catch (cause) {
    throw new KeyError('KEY_UNUSABLE', `${name} is not a private key in PEM or PKCS#12`, {
      where: name,
      cause
    })
  }
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
 * @param subject common name of the certificate
 * @param days how long the certificate says it is valid; hexz itself does not look
 */
export async function makeKeyPair(
  bits: number,
  subject: string,
  days: number,
  passphrase: Uint8Array | undefined
): Promise<KeyPairFiles> {
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

/** node:crypto does not make certificates. */
function selfSign(privateKey: KeyObject, publicKey: KeyObject, subject: string, days: number): string {
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = forge.pki.publicKeyFromPem(
    publicKey.export({ type: 'spki', format: 'pem' }) as string
  )
  certificate.serialNumber = `00${Buffer.from(forge.random.getBytesSync(15), 'binary').toString('hex')}`
  const start = new Date()
  certificate.validity.notBefore = start
  certificate.validity.notAfter = new Date(start.getTime() + days * 86_400_000)
  const name = [{ name: 'commonName', value: subject }]
  certificate.setSubject(name)
  certificate.setIssuer(name)
  certificate.setExtensions([
    { name: 'basicConstraints', cA: false },
    { name: 'keyUsage', keyEncipherment: true }
  ])
  certificate.sign(
    forge.pki.privateKeyFromPem(privateKey.export({ type: 'pkcs8', format: 'pem' }) as string),
    forge.md.sha256.create()
  )
  return forge.pki.certificateToPem(certificate).replaceAll('\r\n', '\n')
}
