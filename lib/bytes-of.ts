import { isAnyArrayBuffer } from 'node:util/types'
import { SourceError } from './errors.js'
import { encodeText } from './text.js'

/** What people call bytes. A value may come from another realm (`vm`, Jest), where `instanceof` does not know it. */
export type BytesLike = string | ArrayBufferView | ArrayBufferLike

/** A view of bytes, whatever kind of view or buffer they come in; text as UTF-8. `undefined` for what is not bytes. */
export function bytesOf(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value
  if (typeof value === 'string') return encodeText(value)
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  return isAnyArrayBuffer(value) ? new Uint8Array(value) : undefined
}

/**
 * The same of a piece of a source: a stream in object mode may give anything, and what is not bytes must not be passed
 * over in silence.
 *
 * @throws SourceError SOURCE_UNREADABLE
 */
export function toBytes(value: unknown, name: string): Uint8Array {
  const bytes = bytesOf(value)
  if (bytes !== undefined) return bytes
  const what = value === null ? 'null' : typeof value
  const why =
    typeof value === 'string' ? 'text that UTF-8 cannot hold' : `something other than bytes: ${what}`
  throw new SourceError('SOURCE_UNREADABLE', `${name} gave ${why}`, { where: name })
}
