import { createRequire } from 'node:module'
import { systemLimit, UnsupportedError } from './errors.js'

const require = createRequire(import.meta.url)

/**
 * Loads a package with a part that is compiled for each system; npm installs that part as an optional package.
 *
 * @throws UnsupportedError NATIVE_MISSING when it is not installed, or does not fit this system; LimitError SYSTEM_LIMIT
 */
export function loadNative(name: string): unknown {
  try {
    return require(name)
  } catch (error) {
    const limit = systemLimit(error)
    if (limit !== undefined) throw limit
    const part = `the native part of ${name} for ${process.platform}-${process.arch}`
    const remedy = 'run npm install without --omit=optional on this system'
    const why = isMissing(error) ? 'is missing' : `can't be loaded (${firstLine(error)})`
    throw new UnsupportedError('NATIVE_MISSING', `${part} ${why}: ${remedy}`, { where: name, cause: error })
  }
}

/** Loaders try one file after another, and chain what went wrong: nothing was there, unless there was and did not load. */
function isMissing(error: unknown): boolean {
  const codes = new Set<unknown>()
  for (let cause = error, depth = 0; cause instanceof Error && depth < 20; cause = cause.cause, depth++)
    codes.add('code' in cause ? cause.code : undefined)
  return codes.has('MODULE_NOT_FOUND') && !codes.has('ERR_DLOPEN_FAILED')
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? ''
}
