import prettyBytes from 'pretty-bytes'
import { UsageError } from '../errors.js'
import type { Flag } from './command.js'
import { answerWith } from './signals.js'

const modes = ['auto', 'plain', 'json', 'none'] as const
export type ProgressMode = (typeof modes)[number]

export const progressFlag: Flag = {
  type: 'string',
  value: 'MODE',
  help: 'auto (default: a line on a terminal), plain (a line every 2 s), json, none'
}

/** Nothing is shown of work that is done sooner. */
const quietMs = 1000
const intervalsMs: Record<ProgressMode, number> = { auto: 200, plain: 2000, json: 1000, none: Infinity }

export const formatSize = (size: number): string => prettyBytes(size, { binary: true })

export interface Progress {
  /** @param done bytes so far; @param stored bytes written so far, when that is something else */
  update(done: number, stored?: number): void
  /** Clears the line on a terminal. */
  end(): void
}

/** @throws UsageError for an unknown mode */
export function parseProgressMode(text: string | undefined): ProgressMode {
  const mode = modes.find((name) => name === (text ?? 'auto'))
  if (mode === undefined) throw new UsageError(`--progress ${text ?? ''} is unknown; use ${modes.join(', ')}`)
  return mode
}

/**
 * Shows progress on standard error, and answers the signals that ask for it.
 *
 * @param verb such as `read`
 * @param total bytes, when known
 */
export function createProgress(mode: ProgressMode, verb: string, total: number | undefined): Progress {
  const isLine = mode === 'auto'
  const isShown = mode === 'auto' ? process.stderr.isTTY : mode !== 'none'
  const start = performance.now()
  let lastShown = start + quietMs - intervalsMs[mode]
  let isOnLine = false
  let last: Pick<Moment, 'done' | 'stored'> = { done: 0, stored: undefined }
  const moment = (): Moment => ({ verb, total, ...last, elapsedMs: performance.now() - start })
  const cleared = (): string => (isOnLine ? '\r\x1b[K' : '')

  answerWith(() => {
    const text = mode === 'json' ? json(moment()) : `${cleared()}hexz: ${describe(moment())}`
    isOnLine = false
    return `${text}\n`
  })
  return {
    update(done, stored) {
      last = { done, stored }
      const now = performance.now()
      if (!isShown || now - lastShown < intervalsMs[mode]) return
      lastShown = now
      const text = mode === 'json' ? json(moment()) : describe(moment())
      process.stderr.write(isLine ? `\r\x1b[K${text}` : `${text}\n`)
      isOnLine = isLine
    },
    end() {
      if (isOnLine) process.stderr.write(cleared())
      isOnLine = false
    }
  }
}

interface Moment {
  readonly verb: string
  readonly done: number
  readonly total: number | undefined
  readonly stored: number | undefined
  readonly elapsedMs: number
}

function json({ done, total, stored, elapsedMs }: Moment): string {
  return JSON.stringify({ event: 'progress', done, total, stored, elapsedMs: Math.round(elapsedMs) })
}

function describe({ verb, done, total, stored, elapsedMs }: Moment): string {
  const rate = (done / elapsedMs) * 1000
  const share =
    total === undefined || total === 0
      ? ''
      : ` of ${formatSize(total)}, ${Math.floor((100 * done) / total)} %`
  const parts = [`${verb} ${formatSize(done)}${share}`]
  if (stored !== undefined && stored > 0) parts.push(`${formatSize(stored)} written`)
  parts.push(`${formatSize(Math.round(rate))}/s`)
  if (total !== undefined && rate > 0 && done < total)
    parts.push(`${Math.ceil((total - done) / rate)} s left`)
  return parts.join(', ')
}
