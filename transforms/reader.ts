import { Readable } from 'node:stream'
import { checkOptions, checkValue, count, flag, having, type OptionTable } from '../lib/check-options.js'
import { SourceError } from '../lib/errors.js'
import { memoryLimits } from '../lib/limits.js'
import { noBytes } from '../lib/source/source-error.js'
import type { ReadOptions, Source } from '../lib/source/source.js'

export interface ReaderOptions {
  /** Bytes the source must give; fewer or more is an error. */
  readonly expectSize?: number
  /** A pipe may give no byte at all. Default false, because a far side that failed looks the same. */
  readonly allowEmpty?: boolean
}

/** A stream of bytes, for which `for await` has a type. */
export interface ByteStream extends Readable {
  __streamTypeR(): Uint8Array
  // Twice for the reason that `Stage` tells.
  [Symbol.asyncIterator](nobody: never): never
  [Symbol.asyncIterator]<Bytes extends Uint8Array>(): NodeJS.AsyncIterator<Bytes>
}

const optionTable: OptionTable<ReaderOptions> = { expectSize: count(0), allowEmpty: flag }

/**
 * Source → bytes, in pieces of up to 2 MiB. Closes the source whatever happens.
 *
 * Holds two pieces and one read ahead.
 */
export function reader(source: Source, options: ReaderOptions = {}): ByteStream {
  checkValue('the source of reader()', source, having('a source, as openSource() gives', 'read', 'close'))
  checkOptions('reader()', options, optionTable)
  const pieces = readSource(source, options)
  const iterator: AsyncIterator<Uint8Array, void> = {
    next: () => pieces.next(),
    async return() {
      // A generator that was never asked for anything has no `finally` to run.
      await source.close()
      return pieces.return()
    }
  }
  return Readable.from(
    { [Symbol.asyncIterator]: () => iterator },
    { objectMode: false, highWaterMark: memoryLimits.readSize }
  ) as unknown as ByteStream
}

const allowEmptyRemedy = { option: 'allowEmpty', does: 'takes that as it is' }

/** What `reader` does, as a generator; for `reuse` and `slabs` see `Source.read`. */
export async function* readSource(
  source: Source,
  { expectSize, allowEmpty = false, ...options }: ReaderOptions & Partial<ReadOptions> = {}
): AsyncGenerator<Uint8Array, void> {
  try {
    let total = 0
    for await (const piece of source.read({ reuse: false, ...options })) {
      total += piece.length
      if (expectSize !== undefined && total > expectSize) throw wrongSize(source.name, expectSize, total)
      if (piece.length > 0) yield piece
    }
    if (expectSize !== undefined && total !== expectSize) throw wrongSize(source.name, expectSize, total)
    const isExpected = expectSize === 0 || allowEmpty
    if (total === 0 && source.isPipe === true && !isExpected) throw noBytes(source.name, allowEmptyRemedy)
  } finally {
    await source.close()
  }
}

function wrongSize(name: string, expected: number, found: number): SourceError {
  const how =
    found < expected
      ? `ended after ${found} of ${expected} bytes`
      : `gave more than the ${expected} bytes expected`
  return new SourceError('SOURCE_SHORT', `${name} ${how}`, { where: name, expected, found })
}
