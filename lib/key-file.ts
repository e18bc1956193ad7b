import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { readSlots, type UnreadableSlot } from './crypto/slots.js'
import { errnoOf, SourceError, TargetError, UnsupportedError, UsageError } from './errors.js'
import type { KeySlot } from './format/key-slots.js'
import { descriptorBytes, openFileBytes, type ByteSource } from './reader/byte-source.js'
import { readHeader, type ReadHeader } from './reader/structure.js'
import { sourceError } from './source/source-error.js'
import { targetError, writeAll } from './target/write-all.js'

/** The header of a snapshot and its key slots. */
export interface KeyArea extends ReadHeader {
  /** The key slots as they lie in the file. */
  readonly area: Uint8Array
  /** The same decoded; `undefined` is an empty one. */
  readonly slots: readonly (KeySlot | UnreadableSlot | undefined)[]
}

/** Bytes to be put at a place in the file. */
export interface Piece {
  readonly offset: number
  readonly bytes: Uint8Array
}

/**
 * A snapshot that is changed where it lies. All is read from and written to the one descriptor: a file that gets the
 * name in the meantime is left alone.
 */
export interface KeyFile {
  readonly source: ByteSource
  /**
   * Waits until no other program changes the file, and writes what `decide` says. `decide` must read what it builds on:
   * what was read before may have changed. Each piece is written and synced by itself, in order, and read back.
   *
   * @throws SourceError SOURCE_CHANGED when the name has come to mean another file; TargetError; UnsupportedError
   */
  change(decide: () => Promise<readonly Piece[]>): Promise<void>
  /** Also lets others change the file. */
  close(): Promise<void>
}

/** How long another program may keep the file for itself. It takes a few milliseconds. */
const waitMs = 10_000

/** @throws SourceError, UsageError for a snapshot that is not encrypted; CorruptError, UnsupportedError */
export async function readKeys(source: ByteSource): Promise<KeyArea> {
  const header = await readHeader(source)
  if (!header.header.encrypted) throw new UsageError(`${source.name} is not encrypted, so it has no keys`)
  const area = await source.read(header.bytes.length, header.framesOffset - header.bytes.length)
  return { ...header, area, slots: readSlots(area, source.name) }
}

/** @throws SourceError SOURCE_MISSING, SOURCE_UNREADABLE; TargetError when it may not be written */
export async function openKeyFile(path: string, signal?: AbortSignal): Promise<KeyFile> {
  await (await openFileBytes(path)).close() // says in the words of a reader what is no file, or not there
  const handle = await open(path, constants.O_RDWR).catch((error: unknown) => {
    throw errnoOf(error) === 'ENOENT' ? sourceError(error, path) : targetError(error, path)
  })
  const close = (): Promise<void> => handle.close().catch(() => undefined) // the sync has told all there is to tell
  let size: number
  try {
    ;({ size } = await handle.stat())
  } catch (error) {
    await close()
    throw sourceError(error, path)
  }
  const source = descriptorBytes(handle.fd, path, size, close)
  return {
    source,
    async change(decide) {
      await lock(handle, path, signal)
      await checkName(handle, path, 'nothing was changed')
      for (const { offset, bytes } of await decide()) {
        await writeAll(handle.fd, [bytes], path, offset)
        await handle.sync().catch(failAsTarget(path))
        if (Buffer.compare(await source.read(offset, bytes.length), bytes) !== 0)
          throw new TargetError(
            'TARGET_UNWRITABLE',
            `${path} does not hold at byte ${offset} what was written there: another program has written it, too, or the disk fails`,
            { where: path, offset }
          )
      }
      await checkName(handle, path, 'what was changed is the file that had this name before')
    },
    close: () => source.close()
  }
}

const failAsTarget =
  (path: string) =>
  (error: unknown): never => {
    throw targetError(error, path)
  }

/** Whoever names a file believes that it is the one which was changed. */
async function checkName(handle: FileHandle, path: string, outcome: string): Promise<void> {
  const own = await handle.stat({ bigint: true }).catch((error: unknown) => {
    throw sourceError(error, path)
  })
  const named = await stat(path, { bigint: true }).catch(() => undefined)
  if (named?.ino === own.ino && named.dev === own.dev) return
  throw new SourceError(
    'SOURCE_CHANGED',
    `${path} was replaced by another file, or removed, in the meantime; ${outcome}`,
    { where: path }
  )
}

/**
 * An exclusive flock(2), which Node has no call for: `flock` takes it on the open file that it shares with us, and leaves
 * it to us when it ends. The system gives it up with our descriptor, however we end, so that no lock is ever stale. It
 * holds between containers, and on file servers that know locks, where a lock file would need a clock or a process id.
 */
async function lock(handle: FileHandle, path: string, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  const child = spawn('flock', ['-x', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', handle.fd],
    env: { PATH: process.env.PATH }, // what else is in ours may be a passphrase
    timeout: waitMs,
    ...(signal === undefined ? {} : { signal })
  })
  try {
    const ended = once(child, 'close') as Promise<[number | null]>
    const [words, [code]] = await Promise.all([child.stderr === null ? '' : text(child.stderr), ended])
    if (code === 0) return
    throw new TargetError(
      'TARGET_UNWRITABLE',
      code === null
        ? `the keys of ${path} can't be changed: another program has locked it; try again when that is done`
        : `the keys of ${path} can't be changed: it can't be locked: ${words.trim()}`,
      { where: path }
    )
  } catch (error) {
    signal?.throwIfAborted()
    if (errnoOf(error) !== 'ENOENT') throw error
    throw new UnsupportedError(
      'PROGRAM_MISSING',
      'changing keys needs the program flock, so that no two programs do it at once: install util-linux or busybox'
    )
  }
}
