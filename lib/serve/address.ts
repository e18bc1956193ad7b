import { lstat, rm, stat } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { dirname } from 'node:path'
import { errnoOf, TargetError, UsageError } from '../errors.js'

/** Where a server listens. */
export type Address =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }

/** Longest path of a unix socket that every system takes, in bytes. */
const socketPathSizeMax = 103

/**
 * `unix:PATH`, `HOST:PORT`, or `PORT` alone, which is on the loopback interface.
 *
 * @param name of the flag, for the message
 * @throws UsageError
 */
export function parseAddress(text: string, name: string): Address {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    if (path === '') throw new UsageError(`${name} ${text} names no socket`)
    const why = whyNoSocket(path)
    if (why !== undefined) throw new UsageError(`${name}: ${why}`)
    return { kind: 'unix', path }
  }
  const match = /^(?:(\[[0-9a-f:.%a-z]+\]|[^:[\]/]+):)?(\d{1,5})$/i.exec(text)
  const port = Number(match?.[2])
  if (!(port <= 65_535))
    throw new UsageError(`${name} ${text} is no address; write unix:PATH, HOST:PORT or [IPv6]:PORT`)
  return { kind: 'tcp', host: match?.[1]?.replace(/^\[|\]$/g, '') ?? '127.0.0.1', port }
}

/** A longer path would be cut off by some systems, one with a NUL by others; `undefined` when there is nothing wrong. */
function whyNoSocket(path: string): string | undefined {
  const size = Buffer.byteLength(path)
  if (size === 0) return 'the path of the socket is empty'
  if (path.includes('\0')) return 'the path of a socket has no NUL in it'
  if (size <= socketPathSizeMax) return undefined
  return `the path of a socket may have ${socketPathSizeMax} bytes, not ${size}; choose a shorter one`
}

/** Addresses of the library's callers come as they are. */
function checkAddress(address: Address): void {
  const why =
    address.kind === 'unix'
      ? whyNoSocket(address.path)
      : Number.isInteger(address.port) && address.port >= 0 && address.port <= 65_535
        ? undefined
        : `port ${address.port} is not a number from 0 to 65535`
  if (why !== undefined) throw new UsageError(why)
}

/** Whether only this machine can connect. */
export function isLocal(address: Address): boolean {
  return address.kind === 'unix' || /^(127\.\d+\.\d+\.\d+|::1|localhost)$/i.test(address.host)
}

/** `HOST:PORT` as in a URI. */
export function authorityOf(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** A path as the part of a URI. */
export function uriPath(path: string): string {
  return encodeURIComponent(path).replaceAll('%2F', '/')
}

/**
 * Starts to listen. A unix socket can be used by its owner only, and is removed when the server closes; one
 * that a killed server left behind is replaced, anything else of that name is not.
 *
 * @returns the address in use, with the port that the system chose for port 0
 * @throws TargetError TARGET_EXISTS, TARGET_UNWRITABLE; UsageError for an address that is none
 */
export async function listen(server: Server, address: Address): Promise<Address> {
  checkAddress(address)
  if (address.kind === 'unix') await clearStale(address.path)
  const place = address.kind === 'unix' ? address.path : authorityOf(address.host, address.port)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(listenError(error, place)))
    if (address.kind === 'unix') {
      const umask = process.umask(0o077) // the socket is made before listen() returns
      server.listen(address.path, resolve)
      process.umask(umask)
    } else server.listen(address.port, address.host, resolve)
  })
  const bound = server.address()
  return address.kind === 'tcp' && typeof bound === 'object' && bound !== null
    ? { ...address, port: bound.port }
    : address
}

/** Removes a socket that nobody listens on. */
async function clearStale(path: string): Promise<void> {
  const folder = await stat(dirname(path)).catch(() => undefined)
  if (folder?.isDirectory() !== true)
    throw new TargetError('TARGET_UNWRITABLE', `can't listen at ${path}: its folder does not exist`, {
      where: path
    })
  const stats = await lstat(path).catch(() => undefined)
  if (stats === undefined) return
  if (!stats.isSocket())
    throw new TargetError('TARGET_EXISTS', `${path} is there already and is no socket; it stays`, {
      where: path
    })
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', (error) => resolve(errnoOf(error) !== 'ECONNREFUSED'))
  })
  if (isAlive) throw new TargetError('TARGET_EXISTS', `another server listens at ${path}`, { where: path })
  await rm(path, { force: true })
}

function listenError(error: Error, place: string): TargetError {
  const details = { where: place, cause: error }
  switch (errnoOf(error)) {
    case 'EADDRINUSE':
      return new TargetError('TARGET_EXISTS', `another server listens at ${place}`, details)
    case 'EACCES':
    case 'EPERM':
      return new TargetError('TARGET_UNWRITABLE', `can't listen at ${place}: permission denied`, details)
    default:
      return new TargetError('TARGET_UNWRITABLE', `can't listen at ${place}: ${error.message}`, details)
  }
}
