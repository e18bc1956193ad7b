import { wipe, type Sealing } from '../crypto/sealing.js'
import { expectsEncryption, type Credentials } from '../crypto/unlock.js'
import { CorruptError } from '../errors.js'
import { footerSize } from '../format/footer.js'
import { checkRecover } from '../option-tables.js'
import type { ByteSource } from './byte-source.js'
import { findFrames } from './damaged-frames.js'
import { createRangeSet, type Range } from './ranges.js'
import type { RecoverTarget } from './recover-target.js'
import { createRestorer, isDamage } from './restorer.js'
import { readHeader, readUnlocked, unlockHeader, type ReadHeader, type Structure } from './structure.js'
import { checkContents } from './verify.js'

export type { RecoverTarget } from './recover-target.js'

export interface RecoverOptions extends Credentials {
  /** Number of the stream to get back. Default 0. */
  readonly stream?: number
  /** Worker threads of the last check, as for `verifySnapshot`. */
  readonly concurrency?: number
  readonly signal?: AbortSignal
  /** Called with the bytes of the file searched so far. */
  readonly onProgress?: (searchedSize: number) => void
}

export interface RecoverResult {
  /** The snapshot is whole and undamaged, as `verifySnapshot` finds it, and every byte of the stream came back. */
  readonly isComplete: boolean
  /** Bytes of the stream, when an intact root tells. */
  readonly streamSize: number | undefined
  /** Bytes from the start without a gap. */
  readonly prefixSize: number
  readonly recovered: readonly Range[]
  /** Ranges of the stream before the last known byte that could not be got back. */
  readonly lost: readonly Range[]
  /** Ranges of the file that are no intact frames, or frames that cannot be what they say. */
  readonly damage: readonly Range[]
  /** What is wrong with the snapshot as a whole, where neither its end is missing nor damage tells; the message of `verifySnapshot`. */
  readonly fault?: string
}

/**
 * Gets back what can be trusted of a snapshot that was cut off or damaged: every block whose checksum is
 * right and that decodes, at its place in the stream, held against the digests of the index pages that
 * survive. Blocks say their own place; holes and repeats behind damage get theirs from the next block or page. Where
 * nothing seems to be wrong, all is checked once more as `verifySnapshot` does.
 *
 * @throws CorruptError NOT_A_SNAPSHOT, or when no key slot opens and one is damaged; KeyError, UnsupportedError,
 * SourceError, LimitError; whatever `target` throws
 */
export async function recoverStream(
  source: ByteSource,
  target: RecoverTarget,
  options: RecoverOptions = {}
): Promise<RecoverResult> {
  checkRecover(source, target, options)
  const { stream = 0, concurrency, signal, onProgress, ...credentials } = options
  const header = await findHeader(source, credentials)
  const sealing = header === undefined ? undefined : await unlockHeader(source, header, credentials)
  const start = header?.framesOffset ?? 0
  const damage = createRangeSet()
  try {
    const read = await inspect(source, header, sealing)
    const { structure } = read
    const end = structure === undefined ? source.size : source.size - footerSize
    const context = { source, start, sealing, structure, damage }
    const restorer = createRestorer(context, stream, target)
    for await (const found of findFrames(source, start, end)) {
      signal?.throwIfAborted()
      if (found.kind === 'frame') {
        await restorer.take(found)
        onProgress?.(found.offset)
      } else {
        damage.add(found.start, found.end)
        restorer.skip()
      }
    }
    const { recovered, lost, streamSize } = restorer.result()
    const isBare = damage.list().length === 0 // nothing else tells what is wrong
    const isSound = structure !== undefined && lost.length === 0 && isBare
    const fault = isSound
      ? await faultOf(checkContents(source, structure, { concurrency, signal }))
      : isBare
        ? read.fault
        : undefined
    const first = recovered[0]
    return {
      isComplete: isSound && fault === undefined,
      streamSize,
      prefixSize: first?.start === 0 ? first.end : 0,
      recovered,
      lost,
      damage: damage.list(),
      ...(fault === undefined ? {} : { fault })
    }
  } finally {
    wipe(sealing?.dataKey)
  }
}

/** What footer and root tell, or what is wrong with them. */
async function inspect(
  source: ByteSource,
  header: ReadHeader | undefined,
  sealing: Sealing | undefined
): Promise<{ readonly structure?: Structure; readonly fault?: string }> {
  if (header === undefined) return {}
  try {
    return { structure: await readUnlocked(source, header, sealing) }
  } catch (error) {
    if (error instanceof CorruptError && error.code === 'INCOMPLETE') return {}
    if (isDamage(error)) return { fault: error.message }
    throw error
  }
}

/** What a check finds wrong with the snapshot; other faults are thrown. */
async function faultOf(check: Promise<unknown>): Promise<string | undefined> {
  try {
    await check
    return undefined
  } catch (error) {
    if (isDamage(error)) return error.message
    throw error
  }
}

/**
 * `undefined` when it is damaged: then the whole file is searched, for frames that are not sealed. Key slots
 * that do not open are no damage to search behind: sealed frames say nothing without the key. Nor is a header, where
 * something was given to open them with: frames that are not sealed are not of that snapshot.
 */
async function findHeader(source: ByteSource, credentials: Credentials): Promise<ReadHeader | undefined> {
  return readHeader(source).catch((error: unknown) => {
    if (!(error instanceof CorruptError) || error.code === 'NOT_A_SNAPSHOT') throw error
    if (!expectsEncryption(credentials)) return undefined
    throw new CorruptError(
      error.code,
      `${error.message}, and no key opens anything without it; put it back from a key backup`,
      { ...error.details, remedy: { option: 'allowPlain', does: 'gets back what is not encrypted' } }
    )
  })
}
