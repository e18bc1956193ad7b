import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { systemLimit, UsageError } from '../errors.js'
import { memoryLimits } from '../limits.js'
import { collectsCodecGarbage } from './collect.js'
import { reviveError, type Reply, type WorkerSettings } from './messages.js'
import { tasks, type Tasks } from './tasks.js'

export type TaskName = keyof Tasks
export type TaskArgs<Name extends TaskName> = Parameters<Tasks[Name]>[0]
export type TaskResult<Name extends TaskName> = Awaited<ReturnType<Tasks[Name]>>

export interface RunOptions {
  /** The calling thread takes such tasks, too, in place of one worker: one thread less to start. It answers nobody meanwhile. */
  readonly mayRunHere?: boolean
}

/** Runs tasks somewhere. */
export interface WorkerPool {
  /** Tasks that can run at the same time. */
  readonly size: number
  run<Name extends TaskName>(
    name: Name,
    args: TaskArgs<Name>,
    options?: RunOptions
  ): Promise<TaskResult<Name>>
  /** Seconds that were worked on each kind of task. */
  readonly worked: ReadonlyMap<TaskName, number>
  close(): Promise<void>
}

/** Runs each task on the calling thread: for a stage that is used alone. */
export const inlinePool: WorkerPool = {
  size: 1,
  run: runHere as WorkerPool['run'],
  worked: new Map(),
  close: () => Promise.resolve()
}

function runHere(name: TaskName, args: unknown): Promise<unknown> {
  return (tasks[name] as (args: unknown) => Promise<unknown>)(args)
}

/**
 * A pool for work on so many bytes: what makes one batch is done on the calling thread before another had started.
 *
 * @param workSize bytes; `undefined` where nobody knows
 * @param size as of `createWorkerPool`
 * @throws UsageError for a size out of range
 */
export function createPoolFor(workSize: number | undefined, size?: number): WorkerPool {
  const pool = createWorkerPool(size)
  return workSize !== undefined && workSize <= memoryLimits.batchSize ? inlinePool : pool
}

/**
 * Tasks given to one worker at a time: one in work and one waiting, so that it never idles between two; and another one
 * where this thread may be too busy to bring it.
 */
const tasksPerWorker = 2

interface Job {
  readonly id: number
  readonly name: TaskName
  readonly args: unknown
  readonly mayRunHere: boolean
  readonly resolve: (value: unknown) => void
  readonly reject: (reason: unknown) => void
}

interface Thread {
  readonly worker: Worker
  readonly jobs: Map<number, Job>
  isReady: boolean
}

/** How many threads a build uses unless told: one a core, up to 64. */
export function defaultWorkerCount(): number {
  return Math.min(availableParallelism(), memoryLimits.workerCountMax)
}

/**
 * A pool of worker threads, each started when there is work that no other is free for. Which thread takes which task
 * has no influence on any result. Where the system gives no more threads, fewer do, or the calling thread alone. A thread
 * that dies rejects every task it held and every later one: work is never lost in silence.
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
  let isWorkingHere = false
  const addWorked = (name: TaskName, ms: number): void => {
    worked.set(name, (worked.get(name) ?? 0) + ms / 1000)
  }

  const threads: Thread[] = []
  let sizeMax = size
  /** A thread more, or `undefined` where the system gives none: then those that are there do the work, or this one. */
  const start = (): Thread | undefined => {
    try {
      return startThread()
    } catch {
      sizeMax = threads.length
      return undefined
    }
  }
  const startThread = (): Thread => {
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: { collects: collectsCodecGarbage() } satisfies WorkerSettings,
      // A task's garbage is short-lived and small beside the codecs' buffers: a small nursery finds it soon.
      resourceLimits: { maxYoungGenerationSizeMb: 2 }
    })
    const thread: Thread = { worker, jobs: new Map(), isReady: false }
    worker.once('online', () => {
      thread.isReady = true
      dispatch()
    })
    worker.on('message', (reply: Reply) => {
      const job = thread.jobs.get(reply.id)
      thread.jobs.delete(reply.id)
      if (job !== undefined) addWorked(job.name, reply.elapsedMs)
      dispatch()
      if ('error' in reply) job?.reject(reviveError(reply.error))
      else job?.resolve(reply.result)
    })
    worker.on('error', (error) => {
      if (thread.isReady)
        fail(systemLimit(error) ?? new Error(`a worker thread failed: ${error.message}`, { cause: error }))
      else lose(thread)
    })
    worker.on('exit', (code) => {
      if (threads.includes(thread)) fail(new Error(`a worker thread ended with code ${code}`))
    })
    threads.push(thread)
    return thread
  }

  /** It never ran: the system had no memory or descriptors for it. Others take what it was to do. */
  const lose = (thread: Thread): void => {
    const at = threads.indexOf(thread)
    if (at === -1) return
    threads.splice(at, 1)
    sizeMax = threads.length
    waiting.unshift(...thread.jobs.values())
    thread.jobs.clear()
    dispatch()
  }

  const leastBusy = (among: readonly Thread[]): Thread | undefined =>
    among.reduce<Thread | undefined>(
      (found, other) => (found === undefined || other.jobs.size < found.jobs.size ? other : found),
      undefined
    )

  /** The worker with least to do: a new one rather than one that is busy. */
  const choose = (): Thread | undefined => {
    const least = leastBusy(threads)
    if (least?.jobs.size === 0) return least
    const another = threads.length < sizeMax ? start() : undefined
    if (another !== undefined) return another
    return least !== undefined && least.jobs.size < tasksPerWorker ? least : undefined
  }

  /** For a task that this thread may take: a worker that has started, so that nobody has to wait until one has. */
  const chooseReady = (): Thread | undefined => {
    const least = leastBusy(threads.filter(({ isReady }) => isReady))
    if (least?.jobs.size === 0) return least
    if (isWorkingHere && threads.length < sizeMax - 1) start()
    return least !== undefined && least.jobs.size <= tasksPerWorker ? least : undefined
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
    for (let job = waiting[0]; job !== undefined; job = waiting[0]) {
      const thread = job.mayRunHere ? chooseReady() : choose()
      if (thread === undefined && (isWorkingHere || !(job.mayRunHere || sizeMax === 0))) return
      waiting.shift()
      if (thread === undefined) {
        workHere(job)
        continue
      }
      thread.jobs.set(job.id, job)
      thread.worker.postMessage({ id: job.id, name: job.name, args: job.args })
    }
  }

  /** One task on this thread, in a turn of its own: between two of them the workers are brought theirs. */
  const workHere = ({ name, args, resolve, reject }: Job): void => {
    const work = async (): Promise<unknown> => {
      if (failure !== undefined) throw failure
      const start = performance.now()
      try {
        return await runHere(name, args)
      } finally {
        addWorked(name, performance.now() - start)
      }
    }
    isWorkingHere = true
    setImmediate(() => {
      void work()
        .then(resolve, reject)
        .then(() => {
          isWorkingHere = false
          dispatch()
        })
    })
  }

  return {
    size,
    worked,
    run: (name, args, { mayRunHere = false } = {}) =>
      new Promise((resolve, reject) => {
        if (failure !== undefined) {
          reject(failure)
          return
        }
        const settle = { resolve: resolve as (value: unknown) => void, reject }
        waiting.push({ id: nextId++, name, args, mayRunHere, ...settle })
        dispatch()
      }),
    async close() {
      fail(new Error('the worker pool is closed'))
      await Promise.all(threads.map(({ worker }) => worker.terminate()))
    }
  }
}
