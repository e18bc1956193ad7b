import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSnapshot, serve } from '../../lib/index.js'
import { buildOfStages } from '../helpers/build.js'
import { randomBytes, textBytes, zeroBytes } from '../helpers/data.js'
import { memorySource } from '../helpers/snapshots.js'

/** A healthy snapshot that is served both ways at sockets. */
export interface Served {
  readonly nbdPath: string
  readonly httpPath: string
  readonly disk: Buffer
  /** What the servers told of since the last call. */
  readonly takeProblems: () => string[]
  close(): Promise<void>
}

export async function serveSample(): Promise<Served> {
  const disk = Buffer.concat([textBytes(30_000, 1), zeroBytes(200_000), randomBytes(70_001, 2)])
  const snapshot = await openSnapshot(
    memorySource(await buildOfStages([[disk]], { chunkSize: 4096 }), 'x.st')
  )
  const folder = mkdtempSync(join(tmpdir(), 'hexz-fuzz-'))
  const [nbdPath, httpPath] = [join(folder, 'n'), join(folder, 'h')]
  let problems: string[] = []
  const serving = await serve(snapshot, {
    nbd: { kind: 'unix', path: nbdPath },
    http: { kind: 'unix', path: httpPath },
    onProblem: (error) => void problems.push(String(error))
  })
  return {
    nbdPath,
    httpPath,
    disk,
    takeProblems() {
      const taken = problems
      problems = []
      return taken
    },
    async close() {
      await serving.close()
      await snapshot.close()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

const waitMs = 5000

/**
 * Says all of it.
 *
 * @param isHangingUp its side of the connection, then, and does not wait for the server to do so
 * @returns what the server said until it hung up; `undefined` when it did not in 5 s
 */
export function talk(
  path: string,
  said: Uint8Array,
  {
    pieceSize = said.length,
    isHangingUp = true
  }: { readonly pieceSize?: number; readonly isHangingUp?: boolean } = {}
): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const heard: Buffer[] = []
    const step = Math.max(1, pieceSize)
    const socket = connect({ path, allowHalfOpen: true }, () => {
      for (let at = 0; at < said.length; at += step) socket.write(said.subarray(at, at + step))
      if (isHangingUp) socket.end()
    })
    const timer = setTimeout(() => {
      resolve(undefined)
      socket.destroy()
    }, waitMs)
    socket.on('data', (bytes: Buffer) => heard.push(bytes))
    socket.on('end', () => socket.end())
    socket.on('error', () => undefined) // the server may hang up in the middle; `close` follows
    socket.once('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(heard))
    })
  })
}
