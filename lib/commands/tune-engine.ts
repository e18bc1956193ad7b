import { availableParallelism } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { collectCodecGarbage } from '../workers/collect.js'

/**
 * What V8 does otherwise in this process, which brings bytes to codecs, and mostly for seconds only: see "V8 is
 * told what a short run needs" in docs/decisions.md. A library must not do that to the process of others.
 */
const flags = [
  // Objects of requests in work become old, and are garbage then: look for them before there are 30 MiB.
  '--heap-growing-percent=50',
  // To collect what little garbage there is takes less time than to wake other threads for it, and codecs get back
  // memory that is still in the processor's cache.
  '--no-parallel-scavenge',
  '--no-concurrent-array-buffer-sweeping'
]

/** A function is compiled to the last only when it has run ten times as long. V8 12, of Node 22, waits so long itself. */
const lateCompilation = '--interrupt-budget=600000'

/** With as many cores the compiler's threads take no time from the codecs, and what ends growth is the main thread. */
const manyCores = 8

/**
 * To be called before there is much to do.
 *
 * @param isEndless a server, which is worth compiling early for
 */
export function tuneEngine({ isEndless }: { readonly isEndless: boolean }): void {
  // A codec starts as many threads as there are cores, for calls that are not made.
  process.env.TOKIO_WORKER_THREADS ??= '1'
  collectCodecGarbage()
  for (const flag of flags) setFlagsFromString(flag)
  const isLate = !isEndless && availableParallelism() < manyCores
  if (isLate && Number.parseInt(process.versions.v8) < 12) setFlagsFromString(lateCompilation)
}
