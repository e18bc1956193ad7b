import { isHexzError } from '../../lib/errors.js'

/** An error in one line, `Class CODE: message`, to be compared whole. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return `not an Error: ${String(error)}`
  return isHexzError(error)
    ? `${error.constructor.name} ${error.code}: ${error.message}`
    : `${error.constructor.name}: ${error.message}`
}

/** What a function throws; fails by its text when it throws nothing. */
export function caught(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return describeError(error)
  }
  return 'nothing was thrown'
}

/** What a promise is rejected with. */
export async function rejected(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'nothing was thrown',
    (error: unknown) => describeError(error)
  )
}

/** What is thrown over all flipped bits, each message once. */
export function flipEachBit(bytes: Uint8Array, decode: (damaged: Uint8Array) => unknown): string[] {
  const messages = Array.from({ length: bytes.length * 8 }, (_, bit) => {
    const damaged = bytes.slice()
    damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    return caught(() => decode(damaged))
  })
  return [...new Set(messages)]
}
