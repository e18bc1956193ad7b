import { Writable } from 'node:stream'
import { checkValue, having } from '../lib/check-options.js'
import { piecesOf, type SnapshotRecord } from '../lib/records.js'
import type { Target } from '../lib/target/target.js'
import { expectRecords } from './stage.js'

/** A Writable that says what it takes. */
export interface RecordSink extends Writable {
  __streamTypeW(): SnapshotRecord | Uint8Array
}

/**
 * SnapshotRecord (or plain bytes) → target. Commits the target when the input ends and discards it when
 * the pipeline fails, so that a failed build leaves nothing that looks finished. Releases what it has written.
 *
 * Holds two records.
 */
export function sink(target: Target): RecordSink {
  checkValue(
    'the target of sink()',
    target,
    having('a target, as openTarget() gives', 'write', 'commit', 'discard')
  )
  const check = expectRecords('sink()', 'header', 'frames', 'footer')
  let lastWrite: Promise<void> = Promise.resolve()
  const write = async (record: SnapshotRecord | Uint8Array): Promise<void> => {
    if (record instanceof Uint8Array) return target.write([record])
    check(record)
    await target.write(piecesOf(record))
    if (record.kind === 'frames') record.release?.()
  }
  return new Writable({
    objectMode: true,
    highWaterMark: 1,
    write(record: SnapshotRecord | Uint8Array, _encoding, done) {
      lastWrite = write(record)
      lastWrite.then(() => done(), done)
    },
    final(done) {
      target.commit().then(() => done(), done)
    },
    destroy(error, done) {
      // A file must not be closed under a write; a pipe's write may never end, and its descriptor is not ours to close.
      const idle = target.isBlocking === true ? Promise.resolve() : lastWrite.catch(() => undefined)
      idle.then(() => target.discard()).then(() => done(error), done)
    }
  }) as RecordSink
}
