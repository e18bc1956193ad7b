import type { Duplex } from 'node:stream'
import { asStream, flushable, many, none } from 'stream-chain'

/**
 * Outputs of a stage, in order. A list of the few that one input gives costs least; what may be many, or large, is
 * made while it is taken.
 */
export type Outputs<Out> = readonly Out[] | Promise<readonly Out[]> | Iterable<Out> | AsyncIterable<Out>

/** What a stage is made of: closures over its state. */
export interface StageParts<In, Out> {
  /** Gives the outputs of one input; the next input waits until all are taken. */
  readonly take: (record: In) => Outputs<Out>
  /** Gives what is left at the end of the input. */
  readonly end?: () => Outputs<Out>
}

/**
 * Makes a Transform of records out of closures. Backpressure holds between any two outputs, so one input
 * may give any number of them. At most two records wait inside, one on each side: a record is a batch of
 * about 2 MiB, and Node's default of 16 a side would hold a hundred of them over a pipeline.
 */
export function stage<In, Out>({ take, end }: StageParts<In, Out>): Duplex {
  const outputs = flushable((record: unknown) =>
    offer(record === none ? (end?.() ?? []) : take(record as In))
  )
  return asStream(outputs, { objectMode: true, readableHighWaterMark: 1, writableHighWaterMark: 1 })
}

/** The outputs as `asStream` takes them. */
function offer<Out>(outputs: Outputs<Out>): unknown {
  if (Array.isArray(outputs)) return many(outputs)
  if (outputs instanceof Promise) return outputs.then(offer)
  return Symbol.asyncIterator in outputs ? outputs[Symbol.asyncIterator]() : outputs[Symbol.iterator]()
}

export interface OrderedStageParts<In, Done, Out> {
  /** Starts the work on one record; runs beside the work on others. */
  readonly work: (record: In) => Promise<Done>
  /** Makes the output from finished work; called in the order of the inputs, one at a time. */
  readonly give: (done: Done) => Out
  /** How many records may be in work; the oldest must be done before another starts. */
  readonly window: number
}

/** A stage that works on several records at once and gives the outputs in the order of the inputs. */
export function orderedStage<In, Done, Out>({
  work,
  give,
  window
}: OrderedStageParts<In, Done, Out>): Duplex {
  const inWork: Promise<Done>[] = []
  const giveOldest = async (): Promise<readonly Out[]> => [give((await inWork.shift()) as Done)]
  const take = (record: In): Outputs<Out> => {
    const done = work(record)
    // Its turn to be awaited may come later than its failure, or never, when the pipeline is torn down.
    done.catch(() => undefined)
    inWork.push(done)
    return inWork.length >= window ? giveOldest() : []
  }
  async function* end(): AsyncGenerator<Out> {
    for (let done = inWork.shift(); done !== undefined; done = inWork.shift()) yield give(await done)
  }
  return stage({ take, end })
}
