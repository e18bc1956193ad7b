import type { Socket } from 'node:net'
import { serveLimits } from '../limits.js'
import { optionReply } from '../nbd/constants.js'
import { createNegotiation, type Agreement, type Export } from '../nbd/negotiation.js'
import {
  clientFlagsSize,
  decodeClientFlags,
  decodeOptionHeader,
  encodeGreeting,
  encodeOptionReply,
  optionHeaderSize
} from '../nbd/protocol.js'
import type { Snapshot } from '../reader/open-snapshot.js'
import { createInput, type Input } from './input.js'
import { transmit } from './nbd-transmission.js'
import { createOutput, type Output } from './output.js'
import type { Activity } from './polling.js'
import type { ReplyBuffers } from './reply-buffers.js'

export interface NbdContext {
  readonly snapshot: Snapshot
  readonly buffers: ReplyBuffers
  readonly exports: readonly [Export, ...Export[]]
  readonly activity: Activity
  /** Bytes that one connection may have in work or unsent, at this moment. */
  readonly connectionSizeMax: () => number
  /** Tells of a read that failed. */
  readonly onProblem: (error: unknown) => void
}

/** Preferred is what a filesystem's block is: no read is too small or unaligned for us. */
const blockSizes = [1, 4096, serveLimits.requestSizeMax] as const

export interface NbdConnection {
  /** Resolves when the connection is over, however it ended. */
  readonly done: Promise<void>
  /** Takes no more requests; those in work are answered. */
  stop(): void
}

/**
 * Speaks NBD with one client until it leaves, is told to stop, or sends what is none of the protocol's
 * messages. Whatever happens here stays here.
 */
export function connectNbd(socket: Socket, context: NbdContext): NbdConnection {
  socket.setNoDelay(true)
  socket.setKeepAlive(true, 60_000)
  socket.on('error', () => undefined) // `close` follows, and ends all that waits
  const input = createInput(socket)
  const output = createOutput(socket)
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))

  const run = async (): Promise<void> => {
    const hurry = setTimeout(() => socket.destroy(), serveLimits.handshakeMs)
    let linger: NodeJS.Timeout | undefined
    const onLeaving = (): void => {
      linger ??= setTimeout(() => socket.destroy(), serveLimits.lingerMs)
    }
    try {
      const agreement = await negotiate(input, output, context).finally(() => clearTimeout(hurry))
      if (agreement === undefined) return
      if (agreement !== 'closed') {
        const options = { ...context, agreement, input, output, onLeaving }
        if (!(await transmit(options))) return
      }
      onLeaving()
      await output.end()
    } finally {
      clearTimeout(linger)
      socket.destroy()
    }
  }
  const done = run()
    .catch(context.onProblem)
    .then(() => closed)
  return { done, stop: () => input.end() }
}

/**
 * The handshake of proto.md, "Newstyle negotiation".
 *
 * @returns `closed` after an orderly end, `undefined` when the client is gone or makes no sense
 */
async function negotiate(
  input: Input,
  output: Output,
  { exports }: NbdContext
): Promise<Agreement | 'closed' | undefined> {
  output.send([encodeGreeting()])
  const flagBytes = await input.take(clientFlagsSize)
  const flags = flagBytes && decodeClientFlags(flagBytes)
  if (flags === undefined) return undefined
  const answer = createNegotiation({ exports, blockSizes, ...flags })
  for (;;) {
    const bytes = await input.take(optionHeaderSize)
    const header = bytes && decodeOptionHeader(bytes)
    if (header === undefined || header.size > serveLimits.optionSkipMax) return undefined
    if (header.size > serveLimits.optionSizeMax) {
      if (!(await input.skip(header.size))) return undefined
      const why = Buffer.from(`option data may have ${serveLimits.optionSizeMax} bytes`)
      output.send([encodeOptionReply(header.option, optionReply.errorTooBig, why)])
    } else {
      const data = await input.take(header.size)
      if (data === undefined) return undefined
      const { replies, next } = answer(header.option, data)
      output.send(replies)
      if (next === 'close') return 'closed'
      if (next !== 'options') return next
    }
    await output.drained()
  }
}
