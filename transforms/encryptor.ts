import { object, slabPool, workerPool, checkOptions, type OptionTable } from '../lib/check-options.js'
import { sealFooter, type Sealing } from '../lib/crypto/sealing.js'
import { footerBodySize } from '../lib/format/footer.js'
import { countFrames, sealOverhead } from '../lib/format/frame.js'
import { memoryLimits } from '../lib/limits.js'
import { type FrameBatch, type SnapshotRecord } from '../lib/records.js'
import { inlinePool, type WorkerPool } from '../lib/workers/pool.js'
import { acquireFor, createSlabPool, type SlabPool } from '../lib/workers/slabs.js'
import { defineStage, expectRecords, orderedParts, type StageParts } from './stage.js'

export interface EncryptorOptions {
  /** Data key and header digest; without it everything passes as it is. */
  readonly sealing?: Sealing | undefined
  readonly pool?: WorkerPool
  readonly slabs?: SlabPool
}

const optionTable: OptionTable<EncryptorOptions> = { sealing: object, pool: workerPool, slabs: slabPool }

/**
 * SnapshotRecord → SnapshotRecord. Seals every frame and the footer with AES-256-GCM; the header passes.
 * Behind the indexer, because then every frame, index pages and root included, is sealed in one place and
 * its offset, which is its nonce, is known. Batches are sealed in parallel and leave in order.
 *
 * Holds the batches in work (threads + 1), plain and sealed.
 */
export const encryptor = defineStage('encryptor', encryptorParts)

function encryptorParts(options: EncryptorOptions = {}): StageParts<SnapshotRecord, SnapshotRecord> {
  checkOptions('encryptor()', options, optionTable)
  const { sealing, pool = inlinePool, slabs = createSlabPool() } = options
  const check = expectRecords('encryptor()', 'header', 'frames', 'footer')
  if (sealing === undefined) return { check, take: (record) => [record] }

  const sealBatch = async ({ offset, frames, release }: FrameBatch): Promise<FrameBatch> => {
    const size = frames.reduce((sum, piece) => sum + piece.length + countFrames(piece) * sealOverhead, 0)
    const slab = acquireFor(pool, slabs, size)
    await pool.run('sealFrames', { sealing, frames, offset, target: slab.bytes })
    release?.()
    return { kind: 'frames', offset, frames: [slab.bytes], release: slab.release }
  }
  const seal = (record: SnapshotRecord): Promise<SnapshotRecord> => {
    if (record.kind === 'frames') return sealBatch(record)
    if (record.kind === 'header') return Promise.resolve(record)
    const bytes = sealFooter(sealing, record.bytes.subarray(0, footerBodySize), record.offset)
    return Promise.resolve({ ...record, bytes })
  }
  return orderedParts({
    check,
    work: seal,
    give: (record) => record,
    window: memoryLimits.batchesInWork(pool.size)
  })
}
