import type { Duplex } from 'node:stream'
import type { SnapshotRecord } from '../lib/records.js'
import { stage } from './stage.js'

/**
 * SnapshotRecord → SnapshotRecord, unchanged: the place in the pipeline where each frame is sealed.
 * Behind the indexer, because then every frame, index pages and root included, is sealed in one place and
 * its offset, which is its nonce, is known. Holds nothing.
 */
export function encryptor(): Duplex {
  return stage<SnapshotRecord, SnapshotRecord>({ take: (record) => [record] })
}
