import { HexzError } from '../../lib/index.js'

/** Tells of something that must not be: a kind of fault, the same for the same cause, and what was seen. */
export type Report = (kind: string, detail: string) => void

/** What came of a call: its value, or the code of a named error. */
export type Outcome<T> =
  | { readonly isOk: true; readonly value: T }
  | { readonly isOk: false; readonly code: string; readonly message: string }

/** Any error that is not one of hexz's own is a fault. */
export async function attempt<T>(
  report: Report,
  what: string,
  work: () => T | Promise<T>
): Promise<Outcome<T>> {
  try {
    return { isOk: true, value: await work() }
  } catch (error) {
    if (error instanceof HexzError) return { isOk: false, code: String(error.code), message: error.message }
    report(`unnamed error in ${what}, ${placeOf(error)}`, String(error))
    return { isOk: false, code: 'unnamed', message: String(error) }
  }
}

function placeOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  return /dist\/(\S+?):\d+:\d+/.exec(stack)?.[1] ?? 'somewhere'
}

/** A message without its numbers. */
export const shapeOf = (message: string): string => message.replace(/[0-9a-f]{16,}|\d+/g, '#')

export const told = (outcome: Outcome<unknown>): string =>
  outcome.isOk ? 'intact' : `${outcome.code} (${outcome.message})`

/** Bytes of a stream at their place, or a hole. */
export type Piece =
  { readonly offset: number; readonly bytes: Uint8Array } | { readonly offset: number; readonly size: number }

export const sizeOf = (piece: Piece): number => ('bytes' in piece ? piece.bytes.length : piece.size)

/** A small part of a stream that lies in pieces, in order and without gaps. */
export function bytesAt(pieces: readonly Piece[], start: number, end: number): Buffer {
  const found = Buffer.alloc(end - start)
  for (const piece of pieces) {
    const from = Math.max(start, piece.offset)
    const to = Math.min(end, piece.offset + sizeOf(piece))
    if (from < to && 'bytes' in piece)
      found.set(piece.bytes.subarray(from - piece.offset, to - piece.offset), from - start)
  }
  return found
}

/** Where two streams differ, in words, or `undefined`. Zeros and holes are the same. */
export function firstDifference(ones: readonly Piece[], others: readonly Piece[]): string | undefined {
  const sizes = [ones, others].map((pieces) => pieces.reduce((sum, piece) => sum + sizeOf(piece), 0))
  if (sizes[0] !== sizes[1]) return `${sizes[0] ?? 0} and ${sizes[1] ?? 0} bytes`
  for (const [from, to] of [
    [ones, others],
    [others, ones]
  ] as const) {
    for (const piece of from) {
      if (!('bytes' in piece)) continue
      const end = piece.offset + piece.bytes.length
      if (!bytesAt(to, piece.offset, end).equals(piece.bytes)) return `bytes at ${piece.offset} to ${end}`
    }
  }
  return undefined
}
