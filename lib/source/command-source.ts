import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { SourceError } from '../errors.js'
import { sourceError } from './source-error.js'
import type { Source } from './source.js'

/** A command that has closed its output and does not end is given up after this. */
const endMs = 10_000

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * What a command of the shell (`sh -c`) writes to standard output. A pipe's end says nothing of whether all was sent;
 * the command's exit status does, so the source is whole only when that is 0. Its standard error is that of hexz.
 * `close` ends the command and all it has started.
 */
export function commandSource(command: string): Source {
  const name = `the command '${command}'`
  let child: ChildProcess | undefined
  let ended: Promise<Ended> | undefined

  async function* read(): AsyncGenerator<Uint8Array, void> {
    const started = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] })
    child = started
    // Asked for at once: a command may be over before its output is.
    const over = new Promise<Ended>((resolve, reject) => {
      started.once('exit', (code, signal) => resolve({ code, signal })).once('error', reject)
    })
    over.catch(() => undefined) // told below
    ended = over
    try {
      for await (const piece of started.stdout as AsyncIterable<Uint8Array>) yield piece
    } catch (error) {
      throw sourceError(error, name)
    }
    checkEnd(await untilEnd(over, name), name)
  }

  async function close(): Promise<void> {
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.stdout?.destroy()
    killTree(child.pid)
    await Promise.race([ended?.catch(() => undefined), delay(1000, undefined, { ref: false })])
  }

  return { name, size: undefined, isPipe: true, read, close }
}

async function untilEnd(over: Promise<Ended>, name: string): Promise<Ended> {
  const tooLong = new AbortController()
  try {
    return await Promise.race([
      over.catch((error: unknown) => {
        throw sourceError(error, name)
      }),
      delay(endMs, undefined, { signal: tooLong.signal }).then(() => {
        throw failed(name, `closed its output and has not ended after ${endMs / 1000} s`)
      })
    ])
  } finally {
    tooLong.abort()
  }
}

function checkEnd({ code, signal }: Ended, name: string): void {
  if (signal !== null) throw failed(name, `was ended by ${signal}`)
  if (code !== 0) throw failed(name, `failed with exit code ${code ?? 'unknown'}`)
}

function failed(name: string, what: string): SourceError {
  return new SourceError('SOURCE_FAILED', `${name} ${what}: what it sent is not whole`, { where: name })
}

/** Ends a process and those it has started, as far as the system tells which these are. */
function killTree(pid: number): void {
  for (const one of [pid, ...descendantsOf(pid)]) {
    try {
      process.kill(one, 'SIGTERM')
    } catch {
      // It has ended meanwhile.
    }
  }
}

function descendantsOf(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    const pids = children === '' ? [] : children.split(' ').map(Number)
    return pids.flatMap((child) => [child, ...descendantsOf(child)])
  } catch {
    return []
  }
}
