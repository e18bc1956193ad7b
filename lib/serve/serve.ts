import { UsageError } from '../errors.js'
import { checkServe } from '../option-tables.js'
import type { Snapshot } from '../reader/open-snapshot.js'
import type { Address } from './address.js'
import { serveHttp } from './http-server.js'
import { serveNbd, type Listener } from './nbd-server.js'

export interface ServeOptions {
  /** Where to offer the streams as NBD exports. */
  readonly nbd?: Address
  /** Where to offer them as files over HTTP. */
  readonly http?: Address
  /** Told of each read that failed; its client gets an error, and the server goes on. */
  readonly onProblem?: (error: unknown) => void
}

/** Servers of one snapshot. */
export interface Serving {
  /** NBD first, then HTTP, as far as they were asked for. */
  readonly uris: readonly string[]
  /** Stops listening, and ends all connections. The snapshot stays open. */
  close(): Promise<void>
}

/**
 * Serves an open snapshot, read-only.
 *
 * @throws TargetError when an address can't be had; then nothing listens
 */
export async function serve(snapshot: Snapshot, options: ServeOptions): Promise<Serving> {
  checkServe(snapshot, options)
  const { nbd, http, onProblem = () => undefined } = options
  if (nbd === undefined && http === undefined) throw new UsageError('no address to serve at is given')
  const listeners: Listener[] = []
  const close = async (): Promise<void> => {
    await Promise.all(listeners.map((listener) => listener.close()))
  }
  try {
    if (nbd !== undefined) listeners.push(await serveNbd(snapshot, nbd, onProblem))
    if (http !== undefined) listeners.push(await serveHttp(snapshot, http, onProblem))
  } catch (error) {
    await close()
    throw error
  }
  return { uris: listeners.map(({ uri }) => uri), close }
}
