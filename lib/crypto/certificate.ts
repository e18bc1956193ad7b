import type { KeyObject } from 'node:crypto'
import forge from 'node-forge'
import { UsageError } from '../errors.js'

/** ub-common-name of X.520, in characters. */
const subjectSizeMax = 64

/** @throws UsageError for what can't be the common name in a certificate */
export function checkSubject(subject: string): void {
  const size = Array.from(subject).length
  if (size < 1 || size > subjectSizeMax)
    throw new UsageError(
      `the common name of a certificate has 1 to ${subjectSizeMax} characters; this one has ${size}`
    )
  // U+FFFD stands for bytes that were no text.
  if (/[\p{Cc}\p{Surrogate}\u2028\u2029\ufffd]/u.test(subject))
    throw new UsageError(
      'the common name of a certificate is text in UTF-8, on one line and without control characters'
    )
}

/** A certificate in PEM, signed by its own key. node:crypto makes none. */
export function selfSign(privateKey: KeyObject, publicKey: KeyObject, subject: string, days: number): string {
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = forge.pki.publicKeyFromPem(
    publicKey.export({ type: 'spki', format: 'pem' }) as string
  )
  certificate.serialNumber = `00${Buffer.from(forge.random.getBytesSync(15), 'binary').toString('hex')}`
  const start = new Date()
  certificate.validity.notBefore = start
  certificate.validity.notAfter = new Date(start.getTime() + days * 86_400_000)
  // Without the tag forge writes a PrintableString, which has not even an underscore. With it, it writes UTF-8.
  const name = [{ name: 'commonName', value: subject, valueTagClass: utf8String }]
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

/** forge's types take this for a class of ASN.1; it is a type. */
const utf8String = forge.asn1.Type.UTF8 as unknown as forge.asn1.Class
