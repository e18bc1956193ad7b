import { isUtf8 } from 'node:buffer'
import { createPrivateKey, type KeyObject } from 'node:crypto'
import forge from 'node-forge'

/** A file in PKCS#12 (RFC 7292), which node:crypto does not open. */
export interface Pkcs12 {
  /**
   * The private key; `undefined` when the file holds no RSA key.
   *
   * @param passphrase may be empty
   * @throws Error when it is wrong, or the file is damaged
   */
  open(passphrase: Uint8Array): KeyObject | undefined
}

/** @throws Error for what is not DER */
export function parsePkcs12(bytes: Buffer): Pkcs12 {
  const file = forge.asn1.fromDer(bytes.toString('binary'))
  return { open: (passphrase) => keyIn(openStore(file, Buffer.from(passphrase))) }
}

/**
 * Two kinds of encryption take a passphrase in two ways, and forge takes one text for both. The check value and the
 * methods of PKCS#12 itself want its letters, in UTF-16; PBES2, which OpenSSL 3 writes, wants its bytes. What is not ASCII
 * is only right for one of them: so where the check value fits and the contents do not open, they are opened by
 * the bytes, one in each letter, and without the check, which has been made or is of a kind that forge does not know.
 */
function openStore(file: forge.asn1.Asn1, passphrase: Buffer): forge.pkcs12.Pkcs12Pfx {
  const letters = passphrase.toString(isUtf8(passphrase) ? 'utf8' : 'latin1') // as OpenSSL takes other bytes
  try {
    return forge.pkcs12.pkcs12FromAsn1(file, letters)
  } catch (error) {
    const isWrong = error instanceof Error && error.message.includes('MAC could not be verified')
    if (isWrong || !Array.isArray(file.value)) throw error
    const unchecked = { ...file, value: file.value.slice(0, 2) }
    return forge.pkcs12.pkcs12FromAsn1(unchecked, passphrase.toString('latin1'))
  }
}

function keyIn(store: forge.pkcs12.Pkcs12Pfx): KeyObject | undefined {
  const { pkcs8ShroudedKeyBag, keyBag } = forge.pki.oids
  for (const type of [pkcs8ShroudedKeyBag, keyBag]) {
    const key = type === undefined ? undefined : store.getBags({ bagType: type })[type]?.[0]?.key
    if (key) return createPrivateKey(forge.pki.privateKeyToPem(key))
  }
  return undefined
}
