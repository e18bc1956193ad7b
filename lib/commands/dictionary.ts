import {
  checkDictionary,
  percent,
  type DictionaryMode,
  type DictionaryOutcome
} from '../compression/dictionary.js'
import type { DictionaryRef } from '../format/index-root.js'
import { formatLimits } from '../limits.js'
import { openInput, textFlag } from './options.js'
import type { Arguments } from './command.js'
import { formatSize } from './progress.js'

/** What `--dictionary` takes beside a file. */
export const dictionaryWords = ['auto', 'always', 'off'] as const

/**
 * What `--dictionary` says; any word but the three is a file, which is read.
 *
 * @throws UsageError, SourceError
 */
export async function readDictionaryFlag(args: Arguments): Promise<{ dictionary?: DictionaryMode }> {
  const text = textFlag(args, 'dictionary')
  if (text === undefined) return {}
  const mode = dictionaryWords.find((name) => name === text)
  return { dictionary: mode ?? (await readDictionaryFile(text)) }
}

/** The file that `--dictionary` names, if it names one. */
export function dictionaryPath(args: Arguments): string | undefined {
  const text = textFlag(args, 'dictionary')
  return dictionaryWords.some((name) => name === text) ? undefined : text
}

/** Reads no more than a dictionary may have, and a piece to tell. */
async function readDictionaryFile(path: string): Promise<Uint8Array> {
  const source = await openInput(path)
  const pieces: Uint8Array[] = []
  let size = 0
  try {
    for await (const piece of source.read({ reuse: false })) {
      pieces.push(piece)
      size += piece.length
      if (size > formatLimits.dictionarySizeMax) break
    }
  } finally {
    await source.close()
  }
  return checkDictionary(Buffer.concat(pieces), source.name).bytes
}

/** The dictionary of a snapshot, for people. */
export function describeDictionary({ rawSize, sampleCount, gain }: DictionaryRef): string {
  const origin =
    sampleCount === 0 ? 'given, not trained here' : `gain ${percent(gain)}, trained on ${sampleCount} samples`
  return `${formatSize(rawSize)}, ${origin}`
}

/** What a build did about a dictionary; `undefined` when none was asked for. */
export function describeOutcome(
  used: DictionaryRef | undefined,
  outcome: DictionaryOutcome | undefined
): string | undefined {
  if (used !== undefined) return describeDictionary(used)
  return outcome?.kind === 'none' ? `none: ${outcome.reason}` : undefined
}

/** The same for programs. */
export function dictionaryJson(used: DictionaryRef | undefined): object | null {
  if (used === undefined) return null
  const { rawSize, sampleCount, gain, handle } = used
  return { rawSize, storedSize: handle.size, sampleCount, gain: gain / 10000 }
}
