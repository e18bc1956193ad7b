import type { Duplex, Writable } from 'node:stream'

/** Where the time of a build went. Seconds. */
export interface Timings {
  /** From the first byte read to the target's commit. */
  readonly wall: number
  /** In the order of the pipeline, `reader` first. Their `limited` add up to `wall`. */
  readonly stages: readonly StageTiming[]
}

export interface StageTiming {
  readonly name: string
  /** How long the others waited for this stage. */
  readonly limited: number
  /** Work of the threads for it, summed over them. */
  readonly worked: number
}

/** What is looked at in a stage: Node's streams tell how much waits in them. */
export type WatchedStage = Pick<Writable, 'writableLength' | 'writableEnded' | 'writableFinished'> &
  Partial<Pick<Duplex, 'readableLength' | 'readableEnded'>>

type NamedStage = WatchedStage & { readonly stageName: string }

const lookMs = 5

/** To be ended, whether or not it was asked. */
export interface StageWatch {
  /** @param worked seconds of the worker threads, by stage */
  timings(worked: ReadonlyMap<string, number>): Timings
  end(): void
}

/**
 * Looks every 5 ms which stage holds the pipeline up: the one nearest to the target that has input and
 * nothing to give. Costs nothing that can be measured, and asks nothing of the stages.
 */
export function watchStages(stages: readonly NamedStage[], sink: WatchedStage): StageWatch {
  const entries: (readonly [string, WatchedStage])[] = [
    ...stages.map((stage) => [stage.stageName, stage] as const),
    ['sink', sink]
  ]
  const start = performance.now()
  const limited = new Map<string, number>()
  let last = start
  const look = (): void => {
    const now = performance.now()
    const name = limitingStage(entries)
    limited.set(name, (limited.get(name) ?? 0) + (now - last) / 1000)
    last = now
  }
  const timer = setInterval(look, lookMs)
  timer.unref()
  return {
    timings(worked) {
      look()
      const timing = (name: string): StageTiming => ({
        name,
        limited: limited.get(name) ?? 0,
        worked: worked.get(name) ?? 0
      })
      return {
        wall: (last - start) / 1000,
        stages: ['reader', ...entries.map(([name]) => name)].map(timing)
      }
    },
    end: () => clearInterval(timer)
  }
}

function limitingStage(stages: readonly (readonly [name: string, stream: WatchedStage])[]): string {
  const holds = (stream: WatchedStage): boolean =>
    stream.writableLength > 0 && (stream.readableLength ?? 0) === 0
  /** It has got everything and still works on it. */
  const drains = (stream: WatchedStage): boolean =>
    stream.writableEnded && !(stream.readableEnded ?? stream.writableFinished)
  const found = stages.findLast(([, stream]) => holds(stream)) ?? stages.find(([, stream]) => drains(stream))
  return found?.[0] ?? 'reader'
}
