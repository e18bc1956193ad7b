import { decodeDictionary } from '../compression/dictionary-frame.js'
import { openFrame, type Sealing } from '../crypto/sealing.js'
import { CorruptError } from '../errors.js'
import { blake3 } from '../format/digest.js'
import { checkFrame, decodeFrameHeader, frameHeaderSize } from '../format/frame.js'
import type { DictionaryRef, IndexRoot } from '../format/index-root.js'
import { shareDictionary, type SharedDictionary } from '../workers/prepared.js'
import type { ByteSource } from './byte-source.js'

/** What a dictionary is read with. */
export interface DictionaryContext {
  readonly source: ByteSource
  readonly root: Pick<IndexRoot, 'dictionary'>
  readonly sealing?: Sealing | undefined
}

/**
 * The dictionary that the root names, after every check there is; `undefined` when it names none. Its digest is
 * part of the root, so that a wrong one is found before a block is decoded with it.
 *
 * @throws CorruptError BAD_CHECKSUM, BAD_STRUCTURE, BAD_DIGEST, BAD_SEAL
 */
export async function readDictionary({
  source,
  root,
  sealing
}: DictionaryContext): Promise<SharedDictionary | undefined> {
  const ref = root.dictionary
  if (ref === undefined) return undefined
  const { name } = source
  const { offset, size } = ref.handle
  if (size < frameHeaderSize || offset + size > source.size)
    throw broken(name, offset, `no dictionary of ${size} bytes fits there`)
  const stored = await source.read(offset, size)
  const frame = sealing === undefined ? stored : openFrame(sealing, stored, name, offset)
  const bytes = decodeDictionaryFrame(frame, name, offset)
  checkDigest(bytes, ref, name)
  return shareDictionary(bytes, Buffer.from(ref.digest).toString('hex'))
}

/** Reads when it is first wanted, and once; after a failure again, because a source may fail for a moment. */
export function onceRead<T>(read: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined
  return () =>
    (result ??= read().catch((error: unknown) => {
      result = undefined
      throw error
    }))
}

/**
 * @param frame whole, and opened where it was sealed
 * @throws CorruptError
 */
export function decodeDictionaryFrame(frame: Uint8Array, where: string, offset: number): Uint8Array {
  checkFrame(frame, where, offset, 'dictionary')
  const { type, codec, rawSize, payloadSize } = decodeFrameHeader(frame, where, offset)
  if (type !== 'dictionary' || frameHeaderSize + payloadSize !== frame.length)
    throw broken(where, offset, `expected a dictionary, found a ${type} frame`)
  if (codec === 'lz4') throw broken(where, offset, 'a dictionary cannot be LZ4')
  try {
    return decodeDictionary(codec, frame.subarray(frameHeaderSize), rawSize)
  } catch (cause) {
    if (!(cause instanceof CorruptError)) throw cause
    throw broken(where, offset, `the dictionary there can't be used: ${cause.message}`, cause)
  }
}

function checkDigest(bytes: Uint8Array, ref: DictionaryRef, where: string): void {
  const { offset } = ref.handle
  const found = blake3(bytes)
  if (bytes.length === ref.rawSize && Buffer.compare(found, ref.digest) === 0) return
  throw new CorruptError(
    'BAD_DIGEST',
    `${where} is damaged at byte ${offset}: the dictionary there is not the one the root names`,
    { where, offset, expected: Buffer.from(ref.digest).toString('hex'), found: found.toString('hex') }
  )
}

function broken(where: string, offset: number, why: string, cause?: unknown): CorruptError {
  const details = { where, offset, ...(cause === undefined ? {} : { cause }) }
  return new CorruptError('BAD_STRUCTURE', `${where} is damaged at byte ${offset}: ${why}`, details)
}
