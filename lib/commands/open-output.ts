import { fstatSync } from 'node:fs'
import { isatty } from 'node:tty'
import { loadRiskyBinding } from '../compression/bindings.js'
import { UsageError } from '../errors.js'
import { isHttpUrl } from '../reader/http-url.js'
import { descriptorOf } from '../source/descriptor.js'
import { openInPlaceTarget, type InPlaceTarget } from '../target/in-place.js'
import type { TargetContent } from '../target/device.js'
import { openStandardDescriptor } from '../target/descriptor-target.js'
import {
  checkTarget,
  openTarget,
  type FileTarget,
  type FileTargetOptions,
  type Target
} from '../target/target.js'
import { socketTarget } from '../target/writable-target.js'
import { descriptorIn, isUrl } from './options.js'

export interface OutputOptions {
  readonly force: boolean
  readonly forceInUse?: boolean
  /** Default: bytes of a stream. */
  readonly content?: TargetContent
  /** What is read in the same run, as the words that named it; `-` is standard input. */
  readonly sources: readonly (string | undefined)[]
  readonly signal: AbortSignal
}

const toTargetOptions = ({
  force,
  forceInUse = false,
  content = 'bytes',
  sources
}: OutputOptions): FileTargetOptions => ({
  force,
  forceInUse,
  content,
  sources: sources.flatMap((word) =>
    word === undefined || isHttpUrl(word) ? [] : (descriptorIn(word) ?? word)
  )
})

/** `/dev/stdout` is standard output, whatever that is. */
const toPath = (word: string): string => (descriptorOf(word) === 1 ? '-' : word)

/**
 * Tells early what opening the output would tell: before a snapshot is waited for that comes through a pipe.
 *
 * @throws UsageError for a terminal; TargetError
 */
export async function checkOutput(word: string, options: OutputOptions): Promise<void> {
  const path = toPath(word)
  if (isUrl(path))
    throw new UsageError('a URL is no target; write to - and let another program send it: | curl -T - URL')
  if (path === '-' && isatty(1))
    throw new UsageError('standard output is a terminal; name a target with -o, or pipe it somewhere')
  await checkTarget(path === '-' ? 1 : path, toTargetOptions(options))
}

/**
 * Opens a path, or standard output for `-`; not when the run was told to stop meanwhile, since it may be ended before it
 * has removed what it made.
 */
export async function openOutput(word: string, options: OutputOptions): Promise<Target | FileTarget> {
  const path = toPath(word)
  await checkOutput(path, options)
  loadRiskyBinding()
  options.signal.throwIfAborted()
  return path === '-'
    ? openStandardOutput(toTargetOptions(options))
    : openTarget(path, toTargetOptions(options))
}

async function openStandardOutput(options: FileTargetOptions): Promise<Target> {
  const name = 'standard output'
  const stats = fstatSync(1)
  // Node has put a pipe into non-blocking mode: only its own stream can wait for room in it.
  if (!stats.isFIFO() && !stats.isSocket()) return openStandardDescriptor(1, options)
  process.stdout.removeAllListeners('error') // the target tells of it
  return socketTarget(process.stdout, name)
}

/** Opens a file or device that is to be changed where it lies. */
export function openInPlace(path: string, options: OutputOptions): Promise<InPlaceTarget> {
  return openInPlaceTarget(path, toTargetOptions(options))
}
