import { availableParallelism } from 'node:os'
import { setFlagsFromString } from 'node:v8'

/**
 * What V8 does otherwise in this process: a run of seconds, in which threads bring bytes to codecs. Each is worth 2 to 7 %
 * of the time of a build or an extract, the first one up to 25 MiB of a server's memory. A library must not do that to
 * the process of others.
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

/** To be called before there is much to do. */
export function tuneEngine(): void {
  for (const flag of flags) setFlagsFromString(flag)
  if (availableParallelism() < manyCores && Number.parseInt(process.versions.v8) < 12)
    setFlagsFromString(lateCompilation)
}
