import { setImmediate as nextTurn } from 'node:timers/promises'
import { serveLimits } from '../limits.js'
import { command, commandFlag } from '../nbd/constants.js'
import { decodeRequest, requestSize, type Request } from '../nbd/protocol.js'
import { createGate } from './gate.js'
import type { Input } from './input.js'
import { createReplies, type Replies, type ReplyContext } from './nbd-replies.js'
import type { Activity } from './polling.js'

export interface TransmissionOptions extends Omit<ReplyContext, 'gate'> {
  readonly input: Input
  readonly activity: Activity
  /** Bytes that this connection may have in work or unsent, at this moment. */
  readonly connectionSizeMax: () => number
  /** Called when no more requests are taken; what is in work is still answered. */
  readonly onLeaving: () => void
}

/** What a request without data counts for, in bytes. */
const smallestTurn = 8 * 1024

/**
 * "Transmission" of proto.md: answers requests, many at a time, each when it is ready. Takes in no more
 * than the connection's gate has room for, counted until the reply is sent: a client that asks and does not
 * read waits for itself only.
 *
 * @returns whether it ended in order: by NBD_CMD_DISC, by an end of the input, or because it was stopped
 */
export async function transmit(options: TransmissionOptions): Promise<boolean> {
  const { input, activity, connectionSizeMax, onLeaving } = options
  const gate = createGate(connectionSizeMax, serveLimits.requestCountMax, activity)
  const answer = createAnswer({ ...options, gate }, input)
  let sinceTurn = 0
  try {
    for (;;) {
      if (sinceTurn > serveLimits.turnSize) {
        sinceTurn = 0
        await nextTurn()
      }
      const bytes = await input.take(requestSize)
      if (bytes === undefined) break
      const request = decodeRequest(bytes)
      if (request === undefined) return false
      if (request.type === command.disconnect) break
      if (!(await answer(request))) return false
      sinceTurn += Math.min(request.length, serveLimits.requestSizeMax) + smallestTurn
    }
    onLeaving()
    await gate.idle()
    return true
  } finally {
    gate.close()
  }
}

/** Gives each request to what answers it, or refuses it. False when the connection cannot go on. */
function createAnswer(context: ReplyContext, input: Input): (request: Request) => Promise<boolean> {
  const replies = createReplies(context)
  return async (request) => {
    switch (request.type) {
      case command.write:
        if (request.length > serveLimits.requestSizeMax || !(await input.skip(request.length))) return false
        return refuseWrite(replies, request)
      case command.trim:
      case command.writeZeroes:
        return refuseWrite(replies, request)
      case command.read:
      case command.blockStatus: {
        const why = whyInvalid(request, context)
        if (why !== undefined) return replies.refuse(request, 'EINVAL', why)
        return request.type === command.read ? replies.read(request) : replies.blockStatus(request)
      }
      default:
        return replies.refuse(request, 'EINVAL', `command ${request.type} is not known here`)
    }
  }
}

function refuseWrite(replies: Replies, request: Request): Promise<boolean> {
  return replies.refuse(request, 'EPERM', 'a snapshot is read-only')
}

/** What is wrong with a request for bytes or block status; `undefined` when nothing is. */
function whyInvalid(
  { type, flags, offset, length }: Request,
  { agreement }: ReplyContext
): string | undefined {
  const { structured, allocation } = agreement
  const { size } = agreement.export
  const isRead = type === command.read
  const known = isRead ? (structured ? commandFlag.df : 0) : commandFlag.requestOne
  if ((flags & ~known) !== 0) return `command flags ${flags} are not known here`
  if (offset + length > size) return `the range of ${length} bytes ends behind the last byte, ${size}`
  if (isRead) return undefined
  if (!allocation) return 'no metadata context was negotiated'
  return length === 0 ? 'the range is empty' : undefined
}
