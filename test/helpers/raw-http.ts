import type { Socket } from 'node:net'

/** Answers of an HTTP server, byte for byte, for `serveRaw`. */
export interface RawFile {
  /** The range of a request, `end` after its last byte. */
  readonly asked: (request: string) => { readonly start: number; readonly end: number }
  /** A right answer, but for what is told. */
  readonly reply: (socket: Socket, request: string, told?: Told) => void
  /** Begins a right answer, without its bytes. */
  readonly begin: (socket: Socket, request: string, length?: string) => void
}

export interface Told {
  readonly status?: string
  readonly headers?: readonly string[]
  /** Value of `Content-Range`; empty for none. */
  readonly range?: string
  readonly body?: Uint8Array
}

export function rawFile(bytes: Buffer): RawFile {
  const asked = (request: string): { start: number; end: number } => {
    const [, first, last] = /^range: bytes=(\d+)-(\d+)$/im.exec(request) ?? []
    return { start: Number(first), end: Math.min(bytes.length, Number(last) + 1) }
  }
  return {
    asked,
    reply(socket, request, told = {}) {
      const { start, end } = asked(request)
      const {
        status = '206 Partial Content',
        headers = [],
        range = `bytes ${start}-${end - 1}/${bytes.length}`,
        body = bytes.subarray(start, end)
      } = told
      const lines = [
        `HTTP/1.1 ${status}`,
        `Content-Length: ${body.length}`,
        ...(range === '' ? [] : [`Content-Range: ${range}`]),
        ...headers
      ]
      socket.write(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]))
    },
    begin(socket, request, length) {
      const { start, end } = asked(request)
      const header = length ?? `Content-Length: ${end - start}`
      socket.write(
        `HTTP/1.1 206 Partial Content\r\n${header}\r\nContent-Range: bytes ${start}-${end - 1}/${bytes.length}\r\n\r\n`
      )
    }
  }
}
