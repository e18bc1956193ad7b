import type { Duplex } from 'node:stream'
import { asStream, flushable, none } from 'stream-chain'

/** What a stage is made of: closures over its state. */
export interface StageParts<In, Out> {
  /** Gives the outputs of one input, in order; the next input waits until all are taken. */
  readonly take: (record: In) => Iterable<Out> | AsyncIterable<Out>
  /** Gives what is left at the end of the input. */
  readonly end?: () => Iterable<Out> | AsyncIterable<Out>
}

/**
 * Makes a Transform of records out of closures. Backpressure holds between any two outputs, so one input
 * may give any number of them. At most two records wait inside, one on each side: a record is a batch of
 * about 1 MiB, and Node's default of 16 a side would hold a hundred of them over a pipeline.
 */
export function stage<In, Out>({ take, end }: StageParts<In, Out>): Duplex {
  const outputs = flushable((record: unknown) => {
    const source = record === none ? (end?.() ?? []) : take(record as In)
    return Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
  })
  return asStream(outputs, { objectMode: true, readableHighWaterMark: 1, writableHighWaterMark: 1 })
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
  async function* take(record: In): AsyncGenerator<Out> {
    const done = work(record)
    // Its turn to be awaited may come later than its failure, or never, when the pipeline is torn down.
    done.catch(() => undefined)
    inWork.push(done)
    if (inWork.length >= window) yield give((await inWork.shift()) as Done)
  }
  async function* end(): AsyncGenerator<Out> {
    for (let done = inWork.shift(); done !== undefined; done = inWork.shift()) yield give(await done)
  }
  return stage({ take, end })
}
