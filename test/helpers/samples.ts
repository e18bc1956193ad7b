import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { PipelineOptions } from '../../lib/build.js'
import { cutEvery, mixedBytes, randomBytes, repeatBytes, textBytes, zeroBytes } from './data.js'

/** Path of a committed file under `test/`; the compiled tests lie in `dist/test/`. */
export function samplePath(name: string): string {
  return fileURLToPath(new URL(`../../../test/${name}`, import.meta.url))
}

export function readSample(name: string): Promise<Buffer> {
  return readFile(samplePath(name))
}

/** Streams and settings of one sample snapshot. */
export interface Sample {
  readonly streams: readonly Uint8Array[]
  readonly options: PipelineOptions
}

/** The source of `test/golden/tiny.bin`: text, random bytes, zeros, repeats, and an odd end. */
export function tinySource(): Buffer {
  const text = textBytes(3072, 1)
  const random = randomBytes(2048, 2)
  return Buffer.concat([text, random, zeroBytes(4096), text, random, zeroBytes(700), text.subarray(0, 99)])
}

/** Built from `tiny.bin`; their bytes are committed as `test/golden/NAME.st`. */
export const goldenOptions: Readonly<Record<string, PipelineOptions>> = {
  tiny: { chunkSize: 1024 },
  'tiny-cdc': { cdc: true, chunkSize: 1024, profile: 'eda' },
  'tiny-raw': { chunkSize: 512, codec: 'raw' }
}

/** Of the encrypted sample. */
export const samplePassphrase = 'correct horse battery staple'

/** Committed as `test/compat/NAME.st` when format 1.0 was made, and never made again. */
export const compatSamples: Readonly<Record<string, Sample>> = {
  '1.0-fixed-lz4': { streams: [mixedBytes(40_000, 11, 2048)], options: { chunkSize: 4096 } },
  '1.0-cdc-zstd': {
    streams: [Buffer.concat([textBytes(20_000, 12), randomBytes(3000, 13), textBytes(20_000, 12)])],
    options: { profile: 'eda', cdc: true, chunkSize: 4096 }
  },
  '1.0-two-streams': {
    streams: [mixedBytes(9000, 14, 1024), Buffer.concat([textBytes(4096, 15), mixedBytes(9000, 14, 1024)])],
    options: { profile: 'embedded', chunkSize: 1024 }
  },
  '1.0-holes-repeats': {
    streams: [
      Buffer.concat([
        zeroBytes(1_000_000),
        ...cutEvery(textBytes(4096, 16), 1024).flatMap((chunk) => [chunk, zeroBytes(10_240), chunk]),
        repeatBytes(textBytes(1024, 17), 1500),
        zeroBytes(5000)
      ])
    ],
    options: { chunkSize: 1024, codec: 'zstd', level: 19 }
  },
  '1.0-raw': { streams: [randomBytes(5000, 18), Buffer.alloc(0)], options: { codec: 'raw', chunkSize: 512 } },
  '1.0-encrypted': {
    streams: [Buffer.concat([textBytes(3000, 19), zeroBytes(4096), textBytes(3000, 19)])],
    options: { chunkSize: 1024, locks: { passphrase: Buffer.from(samplePassphrase) } }
  },
  '1.0-empty': { streams: [Buffer.alloc(0)], options: {} }
}
