import { isHexzError } from '../errors.js'
import { serveLimits } from '../limits.js'
import { blockState, commandFlag, type NbdError } from '../nbd/constants.js'
import type { Agreement } from '../nbd/negotiation.js'
import {
  dataHeaderSize,
  encodeBlockStatus,
  encodeDataHeader,
  encodeError,
  encodeHole,
  encodeNone,
  encodeSimpleReply,
  simpleReplySize,
  type Request
} from '../nbd/protocol.js'
import type { Snapshot } from '../reader/open-snapshot.js'
import { listExtents } from './extents.js'
import type { Gate } from './gate.js'
import type { Output } from './output.js'
import type { ReplyBuffers } from './reply-buffers.js'

/** Room that a reply without data takes; more than it really does. */
const smallReplySize = 1024
const noHeader = Buffer.alloc(0)

export interface ReplyContext {
  readonly snapshot: Snapshot
  readonly buffers: ReplyBuffers
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

export function createReplies(context: ReplyContext): Replies {
  const { snapshot, buffers, agreement, output, gate, onProblem } = context
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

  /** Header and data as one piece of memory, sent as one; the gate was entered for `length`. */
  const sendData = async (
    header: () => Buffer,
    headerSize: number,
    offset: number,
    length: number
  ): Promise<void> => {
    const { bytes, release } = buffers.acquire(headerSize, length)
    try {
      await snapshot.read(name, offset, length, bytes.subarray(headerSize))
    } catch (error) {
      release()
      throw error
    }
    bytes.set(header())
    output.send([bytes], () => {
      release()
      gate.leave(length)
    })
  }

  const readWhole = async ({ cookie, offset, length }: Request): Promise<void> => {
    const reply = { cookie, isLast: true }
    const header = (): Buffer =>
      structured ? encodeDataHeader(reply, offset, length) : encodeSimpleReply(cookie)
    await sendData(header, structured ? dataHeaderSize : simpleReplySize, offset, length).catch(
      (error: unknown) => {
        const why = failed(error)
        const bytes = structured ? encodeError(reply, 'EIO', why, offset) : encodeSimpleReply(cookie, 'EIO')
        output.send([bytes], () => gate.leave(length))
      }
    )
  }

  /** One chunk of a structured reply: data, or a hole. @param isLast called when it is ready to go */
  const readPiece = async (
    cookie: bigint,
    offset: number,
    length: number,
    isLast: () => boolean
  ): Promise<void> => {
    try {
      if (await snapshot.isHole(name, offset, length)) {
        output.send([encodeHole({ cookie, isLast: isLast() }, offset, length)], () => gate.leave(length))
        return
      }
      const header = (): Buffer => encodeDataHeader({ cookie, isLast: isLast() }, offset, length)
      await sendData(header, dataHeaderSize, offset, length)
    } catch (error) {
      const reply = encodeError({ cookie, isLast: isLast() }, 'EIO', failed(error), offset)
      output.send([reply], () => gate.leave(length))
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
        await sendData(() => noHeader, 0, offset + done, piece)
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
      void listExtents(snapshot, name, offset, length, countMax)
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
