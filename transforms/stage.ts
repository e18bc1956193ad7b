import type { Duplex } from 'node:stream'
import { asStream, asWebStream, flushable, many, none } from 'stream-chain'
import type { Flushable, Many } from 'stream-chain/defs.js'
import { UsageError } from '../lib/errors.js'

/**
 * Outputs of a stage, in order. A list of the few that one input gives costs least; what may be many, or large, is
 * made while it is taken.
 */
export type Outputs<Out> = readonly Out[] | Promise<readonly Out[]> | Iterable<Out> | AsyncIterable<Out>

/** What a stage is made of: closures over its state. */
export interface StageParts<In, Out> {
  /** Refuses what is no input, before anything is done with it. */
  readonly check?: (record: unknown) => void
  /** Gives the outputs of one input; the next input waits until all are taken. */
  readonly take: (record: In) => Outputs<Out>
  /** Gives what is left at the end of the input. */
  readonly end?: () => Outputs<Out>
}

/**
 * A stage as a stream: a Transform of records, which says what goes in and what comes out. The two methods with underscores
 * are stream-chain's notation for types, and are there for the compiler alone.
 */
export interface Stage<In, Out> extends Duplex {
  /** Such as `dedup filter`. */
  readonly stageName: string
  __streamTypeW(): In
  __streamTypeR(): Out
  // `pipeline()` asks that streams give strings and buffers, as if there were no object mode. A type parameter
  // satisfies it, as long as there is another form, which nobody can call.
  [Symbol.asyncIterator](nobody: never): never
  [Symbol.asyncIterator]<Record extends Out>(): NodeJS.AsyncIterator<Record>
}

/** A stage as a function of stream-chain, for its `chain()` and `gen()`. */
export type StageFunction<In, Out> = Flushable<In, Many<Out>>

/** A stage as a pair of web streams. */
export interface WebStage<In, Out> {
  readonly readable: ReadableStream<Out>
  readonly writable: WritableStream<In>
}

/** A stage in all its forms. Each call makes another one, with a state of its own. */
export interface StageMaker<Args extends readonly unknown[], In, Out> {
  /** For `pipeline()` and `for await`. */
  (...args: Args): Stage<In, Out>
  /** For stream-chain's `chain()`. */
  asFunction(...args: Args): StageFunction<In, Out>
  /** For `pipeThrough()`. */
  asWebStream(...args: Args): WebStage<In, Out>
}

/**
 * Makes a stage of records out of closures. Backpressure holds between any two outputs, so one input
 * may give any number of them. At most two records wait inside, one on each side: a record is a batch of
 * about 2 MiB, and Node's default of 16 a side would hold a hundred of them over a pipeline.
 *
 * @param name as `stageName`
 */
export function defineStage<Args extends readonly unknown[], In, Out>(
  name: string,
  make: (...args: Args) => StageParts<In, Out>
): StageMaker<Args, In, Out> {
  const asFunction = (...args: Args): StageFunction<In, Out> => {
    const { check, take, end } = make(...args)
    const give = (record: unknown): unknown => {
      if (record === none) return offer(end?.() ?? [])
      check?.(record)
      return offer(take(record as In))
    }
    return flushable(give as (record: In) => Many<Out>)
  }
  const marks = { objectMode: true, readableHighWaterMark: 1, writableHighWaterMark: 1 }
  const asNodeStream = (...args: Args): Stage<In, Out> => {
    const stream: unknown = Object.assign(asStream(asFunction(...args), marks), { stageName: name })
    return stream as Stage<In, Out>
  }
  const asWeb = (...args: Args): WebStage<In, Out> => {
    const streams: unknown = asWebStream(asFunction(...args) as never, { strategy: { highWaterMark: 1 } })
    return streams as WebStage<In, Out>
  }
  return Object.assign(asNodeStream, { asFunction, asWebStream: asWeb })
}

/** The outputs as stream-chain takes them. */
function offer<Out>(outputs: Outputs<Out>): unknown {
  if (Array.isArray(outputs)) return many(outputs)
  if (outputs instanceof Promise) return outputs.then(offer)
  return Symbol.asyncIterator in outputs ? outputs[Symbol.asyncIterator]() : outputs[Symbol.iterator]()
}

/**
 * A check for the records that a stage takes; one comparison a batch.
 *
 * @param where such as `compressor()`
 */
export function expectRecords(where: string, ...kinds: readonly string[]): (record: unknown) => void {
  return (record) => {
    const kind = (record as { kind?: unknown } | null | undefined)?.kind
    if (kinds.includes(kind as string)) return
    const given = typeof kind === 'string' ? `one of kind ${kind}` : `something else: ${typeof record}`
    throw new UsageError(`${where} takes records of kind ${kinds.join(' or ')}, and was given ${given}`)
  }
}

export interface OrderedStageParts<In, Done, Out> {
  readonly check?: (record: unknown) => void
  /** Starts the work on one record; runs beside the work on others. */
  readonly work: (record: In) => Promise<Done>
  /** Makes the output from finished work; called in the order of the inputs, one at a time. */
  readonly give: (done: Done) => Out
  /** How many records may be in work; the oldest must be done before another starts. */
  readonly window: number
}

/** The parts of a stage that works on several records at once and gives the outputs in the order of the inputs. */
export function orderedParts<In, Done, Out>({
  check,
  work,
  give,
  window
}: OrderedStageParts<In, Done, Out>): StageParts<In, Out> {
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
  return check === undefined ? { take, end } : { check, take, end }
}

type InOf<S> = S extends { __streamTypeW(): infer In } ? In : never
type OutOf<S> = S extends { __streamTypeR(): infer Out } ? Out : never

/** The stages, where each takes what the one before it gives; else what does not fit is `never`. */
type InOrder<Stages extends readonly unknown[]> = Stages extends readonly [
  infer First,
  infer Next,
  ...infer Rest
]
  ? [OutOf<First>] extends [InOf<Next>]
    ? readonly [First, ...InOrder<readonly [Next, ...Rest]>]
    : readonly [First, never, ...Rest]
  : Stages

/**
 * The stages as they are, for `pipeline(source, ...inOrder(chunker(), dedupFilter(), …), target)`: a wrong order does not
 * compile. (The types of Node's `pipeline` take any order.)
 */
export function inOrder<Stages extends readonly unknown[]>(...stages: Stages & InOrder<Stages>): Stages {
  return stages
}
