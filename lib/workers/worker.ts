import { parentPort, workerData } from 'node:worker_threads'
import { collectCodecGarbage } from './collect.js'
import { flattenError, type Request, type WorkerSettings } from './messages.js'
import { tasks } from './tasks.js'

/** A worker thread: runs the tasks it is sent, one after another. */
if ((workerData as WorkerSettings).collects) collectCodecGarbage()
let last: Promise<void> = Promise.resolve()

parentPort?.on('message', ({ id, name, args }: Request) => {
  last = last.then(() => run(id, name, args))
})

async function run(id: number, name: string, args: unknown): Promise<void> {
  const start = performance.now()
  const elapsedMs = (): number => performance.now() - start
  try {
    const task = tasks[name as keyof typeof tasks] as (args: unknown) => Promise<unknown>
    parentPort?.postMessage({ id, result: await task(args), elapsedMs: elapsedMs() })
  } catch (error) {
    parentPort?.postMessage({ id, error: flattenError(error), elapsedMs: elapsedMs() })
  }
}
