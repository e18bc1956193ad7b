import { writeSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

/** Loaded before the command line (`node --import`): says on descriptor 3 when signals are handled. */
if (isMainThread) {
  const timer = setInterval(() => {
    if (process.listenerCount('SIGTERM') === 0) return
    clearInterval(timer)
    writeSync(3, 'ready')
  }, 5)
  timer.unref()
}
