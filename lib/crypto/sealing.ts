import { createCipheriv, createDecipheriv } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { CorruptError } from '../errors.js'
import { copyBytes } from '../format/bytes.js'
import { encodeFooter, type SealedFooter } from '../format/footer.js'
import { checkFrame, decodeFrameHeader, frameHeaderSize, frameTypes, sealOverhead } from '../format/frame.js'
import { blake3 } from '../format/digest.js'

/**
 * AES-256-GCM (NIST SP 800-38D) around whole frames. The nonce is the sealed frame's offset in the file:
 * a counter that only grows, under a key that is made for one snapshot and used for no other. The
 * associated data names header, kind and size, so that a frame opens at its own place in its own snapshot only.
 */
export interface Sealing {
  /** 32 bytes, in shared memory so that wiping it wipes it for every thread. */
  readonly dataKey: Uint8Array
  /** BLAKE3-256 of the header without key slots. */
  readonly headerDigest: Uint8Array
}

const cipherName = 'aes-256-gcm'
const tagSize = 16
const frameContext = Buffer.from('hexz 1 frame\0')
const footerContext = Buffer.from('hexz 1 footer\0')

export function makeSealing(dataKey: Uint8Array, header: Uint8Array): Sealing {
  const shared = new Uint8Array(new SharedArrayBuffer(dataKey.length))
  shared.set(dataKey)
  return { dataKey: shared, headerDigest: blake3(header) }
}

/** Makes the data key unusable. What the engine has copied on the way is out of reach. */
export function wipe(...secrets: readonly (Uint8Array | undefined)[]): void {
  for (const secret of secrets) secret?.fill(0)
}

function nonceAt(offset: number): Uint8Array {
  const nonce = Buffer.alloc(12)
  nonce.writeBigUInt64BE(BigInt(offset), 4)
  return nonce
}

/**
 * Seals a whole frame into `target`, which takes 32 bytes more.
 *
 * @param offset of the sealed frame in the file
 */
export function sealFrame(
  { dataKey, headerDigest }: Sealing,
  frame: Uint8Array,
  offset: number,
  target: Uint8Array
): void {
  const view = new DataView(target.buffer, target.byteOffset, frameHeaderSize)
  target.fill(0, 0, frameHeaderSize)
  view.setUint8(4, frameTypes.sealed)
  view.setUint32(12, frame.length + tagSize, true)
  const cipher = createCipheriv(cipherName, dataKey, nonceAt(offset))
  cipher.setAAD(Buffer.concat([frameContext, headerDigest, target.subarray(4, frameHeaderSize)]))
  copyBytes(cipher.update(frame), target, frameHeaderSize)
  cipher.final()
  target.set(cipher.getAuthTag(), frameHeaderSize + frame.length)
  view.setUint32(0, crc32(target.subarray(4, frame.length + sealOverhead)), true)
}

/**
 * The frame inside a sealed frame.
 *
 * @throws CorruptError BAD_CHECKSUM for accidental damage; BAD_SEAL when the frame was made for another
 * place or snapshot, or was tampered with; BAD_STRUCTURE
 */
export function openFrame(
  { dataKey, headerDigest }: Sealing,
  sealed: Uint8Array,
  where: string,
  offset: number
): Uint8Array {
  checkFrame(sealed, where, offset)
  const header = decodeFrameHeader(sealed, where, offset)
  if (header.type !== 'sealed' || sealed.length < frameHeaderSize + sealOverhead) {
    throw new CorruptError(
      'BAD_STRUCTURE',
      `${where} is damaged at byte ${offset}: a frame there is not encrypted`,
      { where, offset }
    )
  }
  const tagStart = sealed.length - tagSize
  const aad = Buffer.concat([frameContext, headerDigest, sealed.subarray(4, frameHeaderSize)])
  const frame = decrypt(
    dataKey,
    nonceAt(offset),
    aad,
    sealed.subarray(frameHeaderSize, tagStart),
    sealed.subarray(tagStart)
  )
  if (frame === undefined) throw badSeal(where, offset)
  return frame
}

/** The footer with its body encrypted. */
export function sealFooter({ dataKey, headerDigest }: Sealing, body: Uint8Array, offset: number): Uint8Array {
  const cipher = createCipheriv(cipherName, dataKey, nonceAt(offset))
  cipher.setAAD(Buffer.concat([footerContext, headerDigest]))
  const sealed = cipher.update(body)
  cipher.final()
  return encodeFooter(sealed, cipher.getAuthTag())
}

/** @throws CorruptError BAD_SEAL */
export function openFooter(
  { dataKey, headerDigest }: Sealing,
  { body, tag }: SealedFooter,
  where: string,
  offset: number
): Uint8Array {
  const plain = decrypt(dataKey, nonceAt(offset), Buffer.concat([footerContext, headerDigest]), body, tag)
  if (plain === undefined) throw badSeal(where, offset)
  return plain
}

/** `undefined` when the tag is wrong. */
export function decrypt(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  sealed: Uint8Array,
  tag: Uint8Array
): Buffer | undefined {
  const decipher = createDecipheriv(cipherName, key, nonce, { authTagLength: tagSize })
  decipher.setAAD(aad)
  decipher.setAuthTag(tag)
  try {
    const plain = decipher.update(sealed) // all of it: GCM is a stream cipher
    decipher.final()
    return plain
  } catch {
    return undefined // the only thing that final() throws for
  }
}

function badSeal(where: string, offset: number): CorruptError {
  return new CorruptError(
    'BAD_SEAL',
    `${where} is damaged at byte ${offset}: what is there was not sealed for this place in this snapshot`,
    {
      where,
      offset
    }
  )
}
