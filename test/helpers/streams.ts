import { Readable, Writable, type Duplex } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** What a stage gives for these inputs. */
export async function runStage<Out>(inputs: Iterable<unknown>, ...stages: Duplex[]): Promise<Out[]> {
  const outputs: Out[] = []
  const collect = new Writable({
    objectMode: true,
    write(record: Out, _encoding, done) {
      outputs.push(record)
      done()
    }
  })
  await pipeline([Readable.from(inputs), ...stages, collect])
  return outputs
}

/** A source that never ends, and tells what became of it. */
export interface Endless<In> {
  readonly stream: Readable
  readonly pulled: () => number
  readonly isClosed: () => boolean
  readonly make: (number: number) => In
}

export function endless<In>(make: (number: number) => In): Endless<In> {
  let pulled = 0
  let isClosed = false
  function* records(): Generator<In> {
    try {
      for (;;) yield make(pulled++)
    } finally {
      isClosed = true
    }
  }
  const stream = Readable.from(records(), { objectMode: true, highWaterMark: 1 })
  return { stream, pulled: () => pulled, isClosed: () => isClosed, make }
}

/** Takes `count` records and fails at the next. */
export function failingSink(count: number, error: Error): Writable {
  let left = count
  return new Writable({
    objectMode: true,
    highWaterMark: 1,
    write(_record, _encoding, done) {
      setImmediate(() => done(left-- > 0 ? null : error))
    }
  })
}

/** Takes `count` records and then no more; `isFull` resolves when the next one waits. */
export function holdingSink(count: number): { stream: Writable; isFull: Promise<void> } {
  let left = count
  let hold = (): void => undefined
  const isFull = new Promise<void>((resolve) => (hold = resolve))
  const stream = new Writable({
    objectMode: true,
    highWaterMark: 1,
    write(_record, _encoding, done) {
      if (left-- > 0) setImmediate(done)
      else hold()
    }
  })
  return { stream, isFull }
}

/** Lets everything happen that can happen without anybody taking more. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve))
}
