import { createHash } from 'node:crypto'

/** Hexadecimal, for small things that are compared byte by byte. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** A hex literal with any white space in it. */
export function unhex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
}

/** SHA-256, for large things. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Where two byte sequences differ first, in words; `equal` when they do not. Keeps megabytes out of messages. */
export function difference(found: Uint8Array, expected: Uint8Array): string {
  if (Buffer.compare(found, expected) === 0) return 'equal'
  const at = found.findIndex((byte, i) => byte !== expected[i])
  return `sizes ${found.length} and ${expected.length}, first difference at ${at === -1 ? found.length : at}`
}
