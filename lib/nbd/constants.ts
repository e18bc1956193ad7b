/**
 * Numbers of the NBD protocol, by the names that its document gives them (proto.md of
 * https://github.com/NetworkBlockDevice/nbd, "Values").
 */

/** Numbers that mark the start of a message. */
export const magic = {
  /** `NBDMAGIC` in ASCII. */
  greeting: 0x4e42444d41474943n,
  /** `IHAVEOPT` in ASCII. */
  option: 0x49484156454f5054n,
  optionReply: 0x0003e889045565a9n,
  request: 0x25609513,
  simpleReply: 0x67446698,
  structuredReply: 0x668e33ef
} as const

/** NBD_FLAG_FIXED_NEWSTYLE and NBD_FLAG_NO_ZEROES; the client's flags have the same values. */
export const handshakeFlag = { fixedNewstyle: 1 << 0, noZeroes: 1 << 1 } as const

/** NBD_OPT_… */
export const option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10
} as const

/** NBD_REP_…; those with the highest bit set are errors. */
export const optionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  errorUnsupported: 0x80000001,
  errorInvalid: 0x80000003,
  errorUnknown: 0x80000006,
  errorTooBig: 0x80000009
} as const

/** NBD_INFO_… */
export const infoType = { export: 0, name: 1, description: 2, blockSize: 3 } as const

/** NBD_FLAG_… of an export. */
export const exportFlag = {
  hasFlags: 1 << 0,
  readOnly: 1 << 1,
  sendDf: 1 << 7,
  canMultiConn: 1 << 8
} as const

/** NBD_CMD_… */
export const command = { read: 0, write: 1, disconnect: 2, trim: 4, writeZeroes: 6, blockStatus: 7 } as const

/** NBD_CMD_FLAG_… */
export const commandFlag = { df: 1 << 2, requestOne: 1 << 3 } as const

/** NBD_REPLY_TYPE_… */
export const replyType = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  error: 0x8001,
  errorOffset: 0x8002
} as const

export const replyFlagDone = 1 << 0

/** NBD_E…: the errors that a server may give, whatever their numbers are on this system. */
export const nbdError = { EPERM: 1, EIO: 5, ENOMEM: 12, EINVAL: 22, EOVERFLOW: 75, ESHUTDOWN: 108 } as const
export type NbdError = keyof typeof nbdError

/** NBD_STATE_… of context `base:allocation`. */
export const blockState = { hole: 1 << 0, zero: 1 << 1 } as const

/** The only metadata context there is, and the id we give it. */
export const allocationContext = { name: 'base:allocation', id: 1 } as const

/** No string of the protocol may be longer; in bytes. */
export const stringSizeMax = 4096
