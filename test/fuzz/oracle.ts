import { isFormatted, isFormattedIntact } from '../../lib/compression/zstd-dictionary.js'
import { openIndexed, readPieces, Refused } from '../helpers/independent-reader.js'
import type { Credentials } from '../helpers/independent/frames.js'
import type { StreamOutcome } from './library.js'
import { bytesAt, firstDifference, shapeOf, told, type Outcome, type Piece, type Report } from './verdict.js'

/** What the reader that was written from docs/format.md alone says: what it gives, or why it refuses. */
export function ask<T>(report: Report, work: () => T): Outcome<T> {
  try {
    return { isOk: true, value: work() }
  } catch (error) {
    if (error instanceof Refused) return { isOk: false, code: error.as, message: error.message }
    report(
      'the independent reader broke',
      error instanceof Error ? `${error.name}: ${error.message}` : String(error)
    )
    return { isOk: false, code: 'unnamed', message: String(error) }
  }
}

/** What the library said of a snapshot. */
export interface LibraryOutcome {
  readonly verified: Outcome<{ readonly digest: Uint8Array }>
  /** `undefined` when it did not open. */
  readonly streams: readonly StreamOutcome[] | undefined
}

/** Both must agree on what is intact and on every byte that is given. */
export function compareWithOracle(
  file: Buffer,
  { passphrase }: { readonly passphrase?: string },
  { verified, streams }: LibraryOutcome,
  report: Report
): void {
  const isUsable = (dictionary: Buffer): boolean => !isFormatted(dictionary) || isFormattedIntact(dictionary)
  const credentials: Credentials = { isUsable, ...(passphrase === undefined ? {} : { passphrase }) }
  const forward = ask(report, () => readPieces(file, credentials))
  if (!forward.isOk && forward.code === 'unnamed') return
  if (verified.isOk && !forward.isOk)
    report(`verify passes what format.md refuses: ${shapeOf(forward.message)}`, '')
  if (!verified.isOk && forward.isOk)
    report(`verify refuses what format.md allows: ${shapeOf(verified.message)}`, told(verified))
  if (verified.isOk && forward.isOk && !forward.value.digest.equals(verified.value.digest))
    report('two snapshot digests', '')
  const { names } = forward.isOk ? forward.value.header : { names: [] }
  for (const [number, name] of names.entries()) {
    const right = forward.isOk ? placed(forward.value.pieces[number] ?? []) : []
    const found = streams?.find((stream) => stream.name === name)
    if (found === undefined) report('reading fails where format.md allows', name)
    else compareStream(found, right, report)
  }
  if (!forward.isOk) compareIndexed(file, credentials, streams, report)
}

function placed(pieces: readonly (Buffer | number)[]): Piece[] {
  let offset = 0
  return pieces.map((piece) => {
    const at = offset
    offset += typeof piece === 'number' ? piece : piece.length
    return typeof piece === 'number' ? { offset: at, size: piece } : { offset: at, bytes: piece }
  })
}

function compareStream({ whole, ranges }: StreamOutcome, right: readonly Piece[], report: Report): void {
  if (!whole.isOk) report('reading fails where format.md allows', whole.message)
  else if (whole.value !== undefined) {
    const found = firstDifference(whole.value, right)
    if (found !== undefined) report('other bytes than by format.md', found)
  }
  for (const { start, end, bytes } of ranges)
    if (bytes.isOk && !bytes.value.equals(bytesAt(right, start, end)))
      report('other bytes than by format.md', `read of ${start} to ${end}`)
}

/** That bytes are not the ones that were stored. */
const contentFaults = /digest of|compressed bytes|plain bytes|checksum|tag of/

/**
 * Of a snapshot that is not intact, single ranges may be. Whoever reads only a range holds its bytes against their digests;
 * to find what else is wrong around them is for `verify`.
 */
function compareIndexed(
  file: Buffer,
  credentials: Credentials,
  streams: readonly StreamOutcome[] | undefined,
  report: Report
): void {
  const indexed = ask(report, () => openIndexed(file, credentials))
  if (!indexed.isOk) {
    const isOfOpening = indexed.code !== 'unnamed' && !indexed.message.includes('dictionary')
    if (streams !== undefined && isOfOpening)
      report(`opens what format.md refuses: ${shapeOf(indexed.message)}`, '')
    return
  }
  if (streams === undefined) {
    report('does not open, though format.md allows', '')
    return
  }
  for (const { name, isCached, ranges } of streams)
    for (const { start, end, bytes } of ranges) {
      const right = ask(report, () => indexed.value.read(name, start, end))
      // When the dictionary is looked at, at the first block or at one that needs it, is the reader's choice.
      const isOfDictionary = (message: string): boolean =>
        message.includes('dictionary') || message.includes(` at byte ${indexed.value.dictionaryOffset}:`)
      if (right.isOk && !bytes.isOk && !isOfDictionary(bytes.message))
        report('read fails where format.md allows', bytes.message)
      if (!right.isOk && bytes.isOk && !isCached && contentFaults.test(right.message) && end > start) {
        const copied = ask(report, () => indexed.value.read(name, start, end, true))
        if (!copied.isOk) report('read gives bytes that are not intact', right.message)
        else if (!copied.value.equals(bytes.value))
          report('other bytes than by format.md', `read of ${start} to ${end}`)
      }
      if (right.isOk && bytes.isOk && !right.value.equals(bytes.value))
        report('other bytes than by format.md', `read of ${start} to ${end}`)
    }
}
