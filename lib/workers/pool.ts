import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { UsageError } from '../errors.js'
import { memoryLimits } from '../limits.js'
import { reviveError, type Reply } from './messages.js'
import { tasks, type Tasks } from './tasks.js'

export type TaskName = keyof Tasks
export type TaskArgs<Name extends TaskName> = Parameters<Tasks[Name]>[0]
export type TaskResult<Name extends TaskName> = Awaited<ReturnType<Tasks[Name]>>

/** Runs tasks somewhere. */
export interface WorkerPool {
  /** Tasks that can run at the same time. */
  readonly size: number
  run<Name extends TaskName>(name: Name, args: TaskArgs<Name>): Promise<TaskResult<Name>>
  /** Seconds that threads have worked on each kind of task. */
  readonly worked: ReadonlyMap<TaskName, number>
  close(): Promise<void>
}

/** Runs each task on the calling thread: for a stage that is used alone. */
export const inlinePool: WorkerPool = {
  size: 1,
  run: ((name: TaskName, args: never) =>
    (tasks[name] as (args: never) => Promise<unknown>)(args)) as WorkerPool['run'],
  worked: new Map(),
  close: () => Promise.resolve()
}

/** Tasks given to one worker at a time: one in work and one waiting, so that it never idles between two. */
const tasksPerWorker = 2

interface Job {
  readonly id: number
  readonly name: TaskName
  readonly args: unknown
  readonly resolve: (value: unknown) => void
  readonly reject: (reason: unknown) => void
}

interface Thread {
  readonly worker: Worker
  readonly jobs: Map<number, Job>
}

/** How many threads a build uses unless told: one a core, up to 64. */
export function defaultWorkerCount(): number {
  return Math.min(availableParallelism(), memoryLimits.workerCountMax)
}

/**
 * A pool of worker threads, each started when there is work that no other is free for. Which thread takes which task
 * has no influence on any result. A thread that dies rejects every task it held and every later one: work is never lost
 * in silence.
 *
 * @param size 1 to 64
 * @throws UsageError for any other number
 */
export function createWorkerPool(size: number = defaultWorkerCount()): WorkerPool {
  if (!Number.isInteger(size) || size < 1 || size > memoryLimits.workerCountMax) {
    throw new UsageError(`concurrency ${size} is not a whole number from 1 to ${memoryLimits.workerCountMax}`)
  }
  const waiting: Job[] = []
  const worked = new Map<TaskName, number>()
  let failure: Error | undefined
  let nextId = 0

  const threads: Thread[] = []
  const start = (): Thread => {
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      // A task's garbage is short-lived and small beside the codecs' buffers: a small nursery finds it soon.
      resourceLimits: { maxYoungGenerationSizeMb: 2 }
    })
    const thread: Thread = { worker, jobs: new Map() }
    worker.on('message', (reply: Reply) => {
      const job = thread.jobs.get(reply.id)
      thread.jobs.delete(reply.id)
      if (job !== undefined) worked.set(job.name, (worked.get(job.name) ?? 0) + reply.elapsedMs / 1000)
      dispatch()
      if ('error' in reply) job?.reject(reviveError(reply.error))
      else job?.resolve(reply.result)
    })
    worker.on('error', (error) =>
      fail(new Error(`a worker thread failed: ${error.message}`, { cause: error }))
    )
    worker.on('exit', (code) => fail(new Error(`a worker thread ended with code ${code}`)))
    threads.push(thread)
    return thread
  }

  /** The thread with least to do: a new one rather than one that is busy. */
  const choose = (): Thread | undefined => {
    const least = threads.reduce<Thread | undefined>(
      (found, other) => (found === undefined || other.jobs.size < found.jobs.size ? other : found),
      undefined
    )
    if (least?.jobs.size === 0) return least
    if (threads.length < size) return start()
    return least !== undefined && least.jobs.size < tasksPerWorker ? least : undefined
  }

  const fail = (error: Error): void => {
    failure ??= error
    for (const job of waiting.splice(0)) job.reject(failure)
    for (const { jobs } of threads) {
      for (const job of jobs.values()) job.reject(failure)
      jobs.clear()
    }
  }

  const dispatch = (): void => {
    while (waiting.length > 0) {
      const thread = choose()
      const job = thread === undefined ? undefined : waiting.shift()
      if (thread === undefined || job === undefined) return
      thread.jobs.set(job.id, job)
      thread.worker.postMessage({ id: job.id, name: job.name, args: job.args })
    }
  }

  return {
    size,
    worked,
    run: (name, args) =>
      new Promise((resolve, reject) => {
        if (failure !== undefined) {
          reject(failure)
          return
        }
        waiting.push({ id: nextId++, name, args, resolve: resolve as (value: unknown) => void, reject })
        dispatch()
      }),
    async close() {
      fail(new Error('the worker pool is closed'))
      await Promise.all(threads.map(({ worker }) => worker.terminate()))
    }
  }
}
