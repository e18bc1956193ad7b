import { printable } from '../printable.js'
import { allocationContext, exportFlag, infoType, option, optionReply, stringSizeMax } from './constants.js'
import {
  decodeInfoRequest,
  decodeMetaContextRequest,
  decodeText,
  encodeBlockSizeInfo,
  encodeExportInfo,
  encodeExportNameReply,
  encodeMetaContext,
  encodeOptionReply,
  encodeServerReply,
  encodeTextInfo
} from './protocol.js'

/** One stream that is offered. */
export interface Export {
  readonly name: string
  readonly size: number
  readonly description: string
}

/** What the two sides have agreed on. */
export interface Agreement {
  readonly export: Export
  /** Replies are structured. */
  readonly structured: boolean
  /** `base:allocation` may be asked for. */
  readonly allocation: boolean
}

export interface OptionResult {
  readonly replies: readonly Uint8Array[]
  /** `options`: more of them; `close`: the end; else transmission starts. */
  readonly next: 'options' | 'close' | Agreement
}

export interface NegotiationOptions {
  /** The first is also the default export, with the empty name. */
  readonly exports: readonly [Export, ...Export[]]
  /** The client wants no 124 zeros behind the answer to NBD_OPT_EXPORT_NAME. */
  readonly noZeroes: boolean
  /** Smallest, preferred and largest request, in bytes. */
  readonly blockSizes: readonly [number, number, number]
}

/**
 * "Option haggling" of proto.md: gives the replies to each option that a client sends. A malformed option
 * is answered with an error, and the client may go on.
 */
export function createNegotiation({
  exports,
  noZeroes,
  blockSizes
}: NegotiationOptions): (type: number, data: Uint8Array) => OptionResult {
  let structured = false
  /** The export that `base:allocation` was chosen for. */
  let allocationOf: Export | undefined

  const find = (name: string): Export | undefined =>
    name === '' ? exports[0] : exports.find((one) => one.name === name)
  const agreeOn = (chosen: Export): Agreement => ({
    export: chosen,
    structured,
    allocation: allocationOf === chosen
  })
  const flags = (): number =>
    exportFlag.hasFlags | exportFlag.readOnly | exportFlag.canMultiConn | (structured ? exportFlag.sendDf : 0)
  const more = (...replies: Uint8Array[]): OptionResult => ({ replies, next: 'options' })
  const ack = (type: number): Uint8Array => encodeOptionReply(type, optionReply.ack)
  const refuse = (type: number, reply: number, why: string): OptionResult =>
    more(encodeOptionReply(type, reply, Buffer.from(why)))
  const unknown = (type: number, name: string): OptionResult =>
    refuse(
      type,
      optionReply.errorUnknown,
      printable(
        `there is no export "${name.slice(0, 256)}"; there are ${exports.map((one) => one.name).join(', ')}`
      )
    )

  const exportName = (data: Uint8Array): OptionResult => {
    const chosen = data.length > stringSizeMax ? undefined : find(decodeText(data))
    if (chosen === undefined) return { replies: [], next: 'close' } // this option knows no errors
    return { replies: [encodeExportNameReply(chosen.size, flags(), noZeroes)], next: agreeOn(chosen) }
  }

  const info = (type: number, data: Uint8Array): OptionResult => {
    const request = decodeInfoRequest(data)
    if (request === undefined)
      return refuse(type, optionReply.errorInvalid, 'the lengths inside do not fit the length of the option')
    const chosen = find(request.name)
    if (chosen === undefined) return unknown(type, request.name)
    const wants = (one: number): boolean => request.types.includes(one)
    const replies = [encodeExportInfo(type, chosen.size, flags())]
    if (wants(infoType.name)) replies.push(encodeTextInfo(type, infoType.name, chosen.name))
    if (wants(infoType.description))
      replies.push(encodeTextInfo(type, infoType.description, chosen.description))
    replies.push(encodeBlockSizeInfo(type, blockSizes))
    return {
      replies: [...replies, ack(type)],
      next: type === option.go ? agreeOn(chosen) : 'options'
    }
  }

  const metaContext = (type: number, data: Uint8Array): OptionResult => {
    if (type === option.setMetaContext) allocationOf = undefined
    if (!structured)
      return refuse(type, optionReply.errorInvalid, 'structured replies must be negotiated first')
    const request = decodeMetaContextRequest(data)
    if (request === undefined)
      return refuse(type, optionReply.errorInvalid, 'the lengths inside do not fit the length of the option')
    const chosen = find(request.name)
    if (chosen === undefined) return unknown(type, request.name)
    const isSet = type === option.setMetaContext
    const named = request.queries.includes(allocationContext.name)
    const listed = !isSet && (request.queries.length === 0 || request.queries.includes('base:'))
    if (!named && !listed) return more(ack(type))
    if (isSet) allocationOf = chosen
    return more(encodeMetaContext(type, isSet ? allocationContext.id : 0), ack(type))
  }

  return (type, data) => {
    switch (type) {
      case option.exportName:
        return exportName(data)
      case option.abort:
        return { replies: [ack(type)], next: 'close' }
      case option.info:
      case option.go:
        return info(type, data)
      case option.listMetaContext:
      case option.setMetaContext:
        return metaContext(type, data)
      case option.list:
      case option.structuredReply:
        if (data.length > 0) return refuse(type, optionReply.errorInvalid, 'this option takes no data')
        if (type === option.list)
          return more(...exports.map((one) => encodeServerReply(type, one.name)), ack(type))
        structured = true
        return more(ack(type))
      default:
        return refuse(type, optionReply.errorUnsupported, `option ${type} is not known here`)
    }
  }
}
