import type { BatchSlabs } from '../workers/slabs.js'

export interface ReadOptions {
  readonly reuse: boolean
  readonly slabs?: BatchSlabs
  /** Bytes to leave free in front of what is read into a slab; default none. */
  readonly room?: number
}

/** Bytes that are read once, front to back. */
export interface Source {
  /** For messages. */
  readonly name: string
  /** Bytes, when known before reading: not for a pipe. */
  readonly size: number | undefined
  /**
   * A pipe, socket or character device: its end looks the same whether all was sent, or the far side failed. One that
   * gives no byte at all is an error then, unless it is allowed.
   */
  readonly isPipe?: boolean
  /** A regular file. */
  readonly isFile?: boolean
  /**
   * The bytes, in pieces of up to 2 MiB. To be taken once.
   *
   * @param options.reuse a piece is only used until the next is asked for, so that its memory may be used again
   * @param options.slabs a whole piece may be the bytes of one of these, which is then the receiver's to release
   */
  read(options: ReadOptions): AsyncGenerator<Uint8Array, void>
  /**
   * Of a file or block device: fills `into` from an offset, before, while or after it is read; what lies behind
   * the end is left alone.
   */
  readonly readAt?: (offset: number, into: Uint8Array) => Promise<void>
  close(): Promise<void>
}
