import { isHexzError } from '../errors.js'
import { serveLimits } from '../limits.js'
import { blockState, commandFlag, type NbdError } from '../nbd/constants.js'
import type { Agreement } from '../nbd/negotiation.js'
import {
  encodeBlockStatus,
  encodeDataHeader,
  encodeError,
  encodeHole,
  encodeNone,
  encodeSimpleReply,
  type Request
} from '../nbd/protocol.js'
import type { Gate } from './gate.js'
import type { Output } from './output.js'
import type { SharedReader } from './shared-reader.js'

/** Room that a reply without data takes; more than it really does. */
const smallReplySize = 1024

export interface ReplyContext {
  readonly reader: SharedReader
  readonly agreement: Agreement
  readonly output: Output
  /** Entered for the size of each reply before work on it starts, left when it is sent. */
  readonly gate: Gate
  readonly onProblem: (error: unknown) => void
}

/**
 * Answers to requests that are in order. Each resolves when its work has got through the gate, not when the
 * reply is sent, so that the next request can be looked at; false means that the connection must end.
 */
export interface Replies {
  refuse(request: Request, error: NbdError, why: string): Promise<boolean>
  read(request: Request): Promise<boolean>
  blockStatus(request: Request): Promise<boolean>
}

export function createReplies({ reader, agreement, output, gate, onProblem }: ReplyContext): Replies {
  const { structured } = agreement
  const { name } = agreement.export

  /** A read that failed: a line for whoever runs the server, words for the client. */
  const failed = (error: unknown): string => {
    onProblem(error)
    return isHexzError(error) ? error.message : 'the server failed'
  }
  const sendSmall = async (reply: Uint8Array): Promise<boolean> => {
    if (!(await gate.enter(smallReplySize))) return false
    output.send([reply], () => gate.leave(smallReplySize))
    return true
  }
  const refuse = ({ cookie }: Request, error: NbdError, why: string): Promise<boolean> =>
    sendSmall(
      structured ? encodeError({ cookie, isLast: true }, error, why) : encodeSimpleReply(cookie, error)
    )

  const readWhole = async ({ cookie, offset, length }: Request): Promise<void> => {
    const reply = { cookie, isLast: true }
    const leave = (): void => gate.leave(length)
    try {
      const bytes = await reader.read(name, offset, length)
      const header = structured ? encodeDataHeader(reply, offset, length) : encodeSimpleReply(cookie)
      output.send([header, bytes], leave)
    } catch (error) {
      const why = failed(error)
      output.send(
        [structured ? encodeError(reply, 'EIO', why, offset) : encodeSimpleReply(cookie, 'EIO')],
        leave
      )
    }
  }

  /** One chunk of a structured reply: data, or a hole. @param isLast called when it is ready to go */
  const readPiece = async (
    cookie: bigint,
    offset: number,
    length: number,
    isLast: () => boolean
  ): Promise<void> => {
    const leave = (): void => gate.leave(length)
    try {
      if (await reader.isHole(name, offset, length)) {
        output.send([encodeHole({ cookie, isLast: isLast() }, offset, length)], leave)
        return
      }
      const bytes = await reader.read(name, offset, length)
      output.send([encodeDataHeader({ cookie, isLast: isLast() }, offset, length), bytes], leave)
    } catch (error) {
      output.send([encodeError({ cookie, isLast: isLast() }, 'EIO', failed(error), offset)], leave)
    }
  }

  /** In chunks, in any order. */
  const readInPieces = async ({ cookie, offset, length }: Request): Promise<boolean> => {
    let left = Math.ceil(length / serveLimits.pieceSize)
    const isLast = (): boolean => --left === 0
    for (let done = 0; done < length; done += serveLimits.pieceSize) {
      const piece = Math.min(serveLimits.pieceSize, length - done)
      if (!(await gate.enter(piece))) return false
      void readPiece(cookie, offset + done, piece, isLast)
    }
    return true
  }

  /** One header and all its bytes, nothing in between: a long read without structured replies. */
  const readInOrder = async ({ cookie, offset, length }: Request): Promise<boolean> => {
    await gate.idle()
    output.send([encodeSimpleReply(cookie)])
    for (let done = 0; done < length; done += serveLimits.pieceSize) {
      const piece = Math.min(serveLimits.pieceSize, length - done)
      if (!(await gate.enter(piece))) return false
      try {
        const bytes = await reader.read(name, offset + done, piece)
        output.send([bytes], () => gate.leave(piece))
      } catch (error) {
        failed(error)
        return false // its header said that all is well: the only way to take that back is to leave
      }
    }
    return true
  }

  return {
    refuse,
    async read(request) {
      const { cookie, flags, length } = request
      const isWhole = (flags & commandFlag.df) !== 0
      const sizeMax = isWhole ? serveLimits.wholeReadSizeMax : serveLimits.requestSizeMax
      if (length > sizeMax)
        return refuse(
          request,
          isWhole ? 'EOVERFLOW' : 'EINVAL',
          `a read may have ${sizeMax} bytes, not ${length}`
        )
      if (length === 0) return sendSmall(structured ? encodeNone(cookie) : encodeSimpleReply(cookie))
      if (structured && !isWhole) return readInPieces(request)
      if (length > serveLimits.wholeReadSizeMax) return readInOrder(request)
      if (!(await gate.enter(length))) return false
      void readWhole(request)
      return true
    },
    async blockStatus({ cookie, flags, offset, length }) {
      const countMax = (flags & commandFlag.requestOne) === 0 ? serveLimits.extentCountMax : 1
      const replySize = smallReplySize + 8 * countMax
      if (!(await gate.enter(replySize))) return false
      void reader
        .extents(name, offset, length, countMax)
        .then((extents) =>
          encodeBlockStatus(
            cookie,
            extents.map(({ kind, size }) => ({
              size,
              state: kind === 'hole' ? blockState.hole | blockState.zero : 0
            }))
          )
        )
        .catch((error: unknown) => encodeError({ cookie, isLast: true }, 'EIO', failed(error)))
        .then((reply) => output.send([reply], () => gate.leave(replySize)))
      return true
    }
  }
}
