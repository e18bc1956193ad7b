import { syncBuiltinESMExports } from 'node:module'
import threads, { type WorkerOptions } from 'node:worker_threads'
import processOnSpawn from 'process-on-spawn'

/**
 * tap starts each test file with hooks that see what modules it loads. Every thread and every Node program that it
 * starts takes them over, each with a thread more and signal handlers that are not ours: a test of many builds took
 * four times as long. Loaded before the tests (`node-arg` in .taprc), this starts both as a user does.
 */
class PlainWorker extends threads.Worker {
  constructor(file: string | URL, options: WorkerOptions = {}) {
    super(file, { execArgv: [], env: { ...process.env }, ...options })
  }
}

delete process.env.NODE_OPTIONS
processOnSpawn.removeAllListeners()
threads.Worker = PlainWorker
syncBuiltinESMExports()
