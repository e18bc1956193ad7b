import { createCipheriv, pbkdf2, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import forge from 'node-forge'
import { wipe } from './sealing.js'

/** Rounds of PBKDF2-HMAC-SHA-256: about 0.2 s. OpenSSL and node:crypto make 2048, and node:crypto takes no other number. */
const roundCount = 600_000

const { Class, Type } = forge.asn1
type Asn1 = forge.asn1.Asn1
const sequence = (...items: Asn1[]): Asn1 => forge.asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, items)
const leaf = (type: forge.asn1.Type, bytes: string): Asn1 =>
  forge.asn1.create(Class.UNIVERSAL, type, false, bytes)
const octets = (bytes: Uint8Array): Asn1 => leaf(Type.OCTETSTRING, Buffer.from(bytes).toString('binary'))
const oid = (id: string): Asn1 => leaf(Type.OID, forge.asn1.oidToDer(id).getBytes())

/**
 * A private key as an EncryptedPrivateKeyInfo (PKCS #8, RFC 5958) by PBES2 (RFC 8018): PBKDF2-HMAC-SHA-256
 * and AES-256-CBC, in PEM.
 *
 * @param key PKCS #8 in DER
 */
export async function encryptPrivateKey(key: Uint8Array, passphrase: Uint8Array): Promise<string> {
  const salt = randomBytes(16)
  const iv = randomBytes(16)
  const derived = await promisify(pbkdf2)(passphrase, salt, roundCount, 32, 'sha256')
  const cipher = createCipheriv('aes-256-cbc', derived, iv)
  const encrypted = Buffer.concat([cipher.update(key), cipher.final()])
  wipe(derived)
  const hmacWithSha256 = sequence(oid('1.2.840.113549.2.9'), leaf(Type.NULL, ''))
  const rounds = leaf(Type.INTEGER, forge.asn1.integerToDer(roundCount).getBytes())
  const derivation = sequence(oid('1.2.840.113549.1.5.12'), sequence(octets(salt), rounds, hmacWithSha256))
  const encryption = sequence(oid('2.16.840.1.101.3.4.1.42'), octets(iv)) // AES-256-CBC
  const pbes2 = sequence(oid('1.2.840.113549.1.5.13'), sequence(derivation, encryption))
  const pem = forge.pki.encryptedPrivateKeyToPem(sequence(pbes2, octets(encrypted)))
  return pem.replaceAll('\r\n', '\n')
}
