import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import type { ScryptCost } from '../../lib/crypto/scrypt.js'
import { wrapForRecipient } from '../../lib/crypto/slots.js'
import { makeSealing } from '../../lib/crypto/sealing.js'
import { encodeHeader, type Header } from '../../lib/format/header.js'
import { encodeKeySlot } from '../../lib/format/key-slots.js'
import { formatLimits } from '../../lib/limits.js'
import { makeHeader, resolveSettings, type SettingsOptions } from '../../lib/profiles.js'
import type { ByteSource } from '../../lib/reader/byte-source.js'
import type { StreamStart } from '../../lib/records.js'
import { createWorkerPool, inlinePool } from '../../lib/workers/pool.js'
import { chunker, compressor, dedupFilter, encryptor, indexer, sink } from '../../transforms/index.js'

/**
 * Made once for a test file: RSA is slow to make, and fast to open with, which scrypt is not. Files of keys
 * must have 2048 bits; here, where none is read, fewer are faster.
 */
export function makeRsaPair(bits = 1024): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync('rsa', { modulusLength: bits })
}

/** The least that is in bounds: a passphrase of a test is no secret. */
export const cheapScrypt: ScryptCost = { logN: 10, r: 1, p: 1 }

export const streamNames = ['disk', 'memory'] as const

export interface SealedOptions extends SettingsOptions {
  readonly streams: readonly Uint8Array[]
  readonly dataKey: Uint8Array
  /** The area of 16 slots. */
  readonly keySlots: Uint8Array
  /** Worker threads; default none, all on this thread. */
  readonly concurrency?: number
}

/** The area of 16 slots with one in use. */
export function slotsFor(dataKey: Uint8Array, publicKey: KeyObject): Buffer {
  const area = Buffer.alloc(formatLimits.keySlotCount * formatLimits.keySlotSize)
  area.set(encodeKeySlot(wrapForRecipient(dataKey, publicKey)))
  return area
}

export function headerOf({ streams, ...settings }: Pick<SealedOptions, 'streams'> & SettingsOptions): Header {
  return makeHeader(resolveSettings(settings), streamNames.slice(0, streams.length), true)
}

/** An encrypted snapshot under a data key of the test's, which `build` never takes: the stages do. */
export async function buildSealed(options: SealedOptions): Promise<Buffer> {
  const { streams, dataKey, keySlots, concurrency = 0, ...settings } = options
  const { chunker: name, codec, level, ...sizes } = resolveSettings(settings)
  const header = headerOf({ streams, ...settings })
  const pool = concurrency === 0 ? inlinePool : createWorkerPool(concurrency)
  const pieces: Buffer[] = []
  const feed = streams.flatMap((bytes, stream): (StreamStart | Uint8Array)[] => [
    { kind: 'stream', stream },
    bytes
  ])
  await pipeline(
    feed as unknown as NodeJS.ReadableStream, // pipeline() takes iterables, its types only up to five stages
    chunker({ chunker: name, min: sizes.chunkSizeMin, avg: sizes.chunkSizeAvg, max: sizes.chunkSizeMax }),
    dedupFilter({ pool }),
    compressor({ codec, level, pool }),
    indexer({ header, keySlots }),
    encryptor({ sealing: makeSealing(dataKey, encodeHeader(header)), pool }),
    sink({
      name: 'memory',
      write: (parts) => {
        pieces.push(...parts.map((part) => Buffer.from(part)))
        return Promise.resolve()
      },
      commit: () => Promise.resolve(),
      discard: () => Promise.resolve()
    })
  ).finally(() => pool.close())
  return Buffer.concat(pieces)
}

/** Bytes in memory, opened as a snapshot. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    name: 'a.st',
    size: bytes.length,
    read: (offset, size) => Promise.resolve(bytes.slice(offset, offset + size)),
    close: () => Promise.resolve()
  }
}

/** Where the frames of a snapshot lie, from the sizes that anyone can read. */
export function sealedFrames(
  snapshot: Buffer,
  framesOffset: number,
  end: number
): { start: number; end: number }[] {
  const frames: { start: number; end: number }[] = []
  for (let start = framesOffset; start < end;) {
    const next = start + 16 + snapshot.readUInt32LE(start + 12)
    frames.push({ start, end: next })
    start = next
  }
  return frames
}
