import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { memoryLimits } from '../limits.js'

/** Without options, it is a full collection; the type `major` of Node 20 frees no memory of buffers. */
type Collect = (options?: { type: 'minor' }) => void

let outputSize = 0
let collect: Collect | undefined
let isOn = false

/**
 * Lets hexz free the buffers of codecs as soon as they are not in use any more, in this thread and in those that it starts from
 * now on: many reads at once hold a few megabytes less. V8 has no other way in than a flag, and flags are the whole process's:
 * `--expose-gc` and `--semi-space-growth-factor=1`. The command line does this; the library leaves it to its host.
 */
export function collectCodecGarbage(): void {
  isOn = true
}

/** For a thread that is to do the same. */
export function collectsCodecGarbage(): boolean {
  return isOn
}

/**
 * To be told of each buffer that a codec gives; frees those that are not in use any more, now and then. V8
 * sees a few bytes of JavaScript object where the binding holds 64 KiB, so it lets tens of megabytes pile up
 * in each thread before it looks; a minor collection takes a fraction of a millisecond. Does nothing unless it is
 * turned on (`collectCodecGarbage`).
 *
 * @param sizeMax bytes that may wait
 */
export function countOutput(size: number, sizeMax: number = memoryLimits.encodeGarbageMax): void {
  if (!isOn) return
  outputSize += size
  if (outputSize < sizeMax) return
  outputSize = 0
  collect ??= openCollector()
  collect({ type: 'minor' })
}

/**
 * Frees all buffers that are not in use, whatever their age: before something is allocated that would be a large part of
 * all memory. A binding's buffer takes a turn of the event loop more than the object that stands for it. Takes some
 * milliseconds.
 */
export async function freeOutput(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    if (isOn) (collect ??= openCollector())()
    await nextTurn()
  }
}

/**
 * Also keeps the nursery of every thread from growing, to 48 MiB in the main one: it is collected so often. A thread
 * that starts undoes that for all, so each one says it.
 */
function openCollector(): Collect {
  setFlagsFromString('--semi-space-growth-factor=1')
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as Collect
}
