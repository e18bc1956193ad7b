import { syncBuiltinESMExports } from 'node:module'
import threads, { type WorkerOptions } from 'node:worker_threads'

/**
 * tap starts each test file with hooks that see what modules it loads, and every thread takes them over, each with a
 * thread of its own: a test of many builds took four times as long. Loaded before the tests (`node-arg` in .taprc),
 * this starts threads as they start in a program that uses the library.
 */
class PlainWorker extends threads.Worker {
  constructor(file: string | URL, options: WorkerOptions = {}) {
    super(file, { execArgv: [], env: { ...process.env, NODE_OPTIONS: '' }, ...options })
  }
}

threads.Worker = PlainWorker
syncBuiltinESMExports()
