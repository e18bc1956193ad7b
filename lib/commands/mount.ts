import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { access, stat } from 'node:fs/promises'
import { constants } from 'node:fs'
import type { Socket } from 'node:net'
import { delimiter, dirname, join, resolve } from 'node:path'
import { CorruptError, TargetError, UnsupportedError, UsageError } from '../errors.js'
import { serveNbdSocket } from '../serve/nbd-server.js'
import type { Command } from './command.js'
import { openSnapshotBytes } from './open-input.js'
import { sizeNote, sizeOption, textFlag } from './options.js'
import { openWithCredentials } from './credentials.js'
import { openFlags } from './passphrase.js'
import { printable } from './printable.js'
import { createTeller } from './report.js'

/** How often the mount is looked for, and for how long. */
const pollMs = 20
const mountMs = 10_000

/** A stream as a read-only file, through nbdfuse: nothing of ours has to be compiled for it. */
export const mount: Command = {
  name: 'mount',
  summary: 'show a stream of a snapshot as a read-only file in a folder',
  usage: ['SNAPSHOT FOLDER [--stream memory]'],
  places: [
    { role: 'input', name: 'the snapshot' },
    { role: 'other', name: 'the folder' }
  ],
  flags: {
    stream: { type: 'string', value: 'NAME', help: 'which stream; default the first, disk' },
    ...openFlags,
    cacheSize: {
      type: 'string',
      value: 'SIZE',
      help: 'decoded chunks kept in memory; default 64M, 0 for none'
    }
  },
  notes: [
    'The file is FOLDER/disk, or FOLDER/ and the name of the stream. It is there until hexz is stopped, or',
    'until fusermount3 -u FOLDER. Needs nbdfuse (Debian: libnbd-bin, fuse3).',
    sizeNote
  ].join('\n'),
  async run(args, { signal }) {
    const [path, folder] = args.places
    if (path === undefined || folder === undefined)
      throw new UsageError('name a snapshot and an empty folder: hexz mount SNAPSHOT FOLDER')
    const cache = sizeOption(args, 'cacheSize', 'cacheSize')
    const program = await findNbdfuse()
    const below = await stat(folder).catch(() => undefined)
    if (below?.isDirectory() !== true)
      throw new TargetError('TARGET_UNWRITABLE', `${folder} is no folder to mount in`, { where: folder })

    const source = await openSnapshotBytes(path)
    const snapshot = await openWithCredentials(args, source, signal, cache)
    try {
      const wanted = textFlag(args, 'stream') ?? snapshot.streams[0]?.name ?? ''
      if (!snapshot.streams.some(({ name }) => name === wanted))
        throw new UsageError(
          `${path} has no stream "${wanted}"; it has ${snapshot.streams.map(({ name }) => name).join(', ')}`
        )
      const file = streamFile(folder, wanted)
      const child = startNbdfuse(program, file)
      // Node makes a pipe that is read and written of two sockets that are connected.
      const serving = serveNbdSocket(snapshot, child.stdio[3] as Socket, wanted, createTeller())
      try {
        await hold(child, file, below.dev, signal)
      } finally {
        await serving.close()
      }
    } finally {
      await snapshot.close()
    }
    signal.throwIfAborted()
  }
}

/**
 * The path of a stream in a folder. A name comes from the snapshot, and must not lead elsewhere.
 *
 * @throws CorruptError BAD_STRUCTURE
 */
export function streamFile(folder: string, name: string): string {
  if (!/^[a-z0-9][a-z0-9._-]*$/.test(name))
    throw new CorruptError('BAD_STRUCTURE', `stream "${name}" has a name that can't be a file's`)
  return join(folder, name)
}

/**
 * Unmounts when standard input ends: when we close it, or are killed. Gives the exit code of the program that it
 * runs. A mount that is dead, because that program was killed, answers nobody; it is taken away.
 */
const keeper = `exec 4<&0 5>&2 2> /dev/null
"$@" < /dev/null 2>&5 4<&- 5>&- &
child=$!
exec 5>&-
{ read -r _ <&4; kill "$child"; } 3<&- &
watch=$!
exec 3<&- 4<&-
wait "$child"
code=$?
kill "$watch"
[ "$code" -le 128 ] || [ -e "$FOLDER" ] || umount -l "$FOLDER" || fusermount3 -uz "$FOLDER"
exit "$code"`

/**
 * Starts nbdfuse, which speaks NBD on descriptor 3. In a session of its own: Ctrl-C is for us, and we unmount.
 * What is in our variables is none of its business.
 */
function startNbdfuse(program: string, file: string): ChildProcess {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('HEXZ_')))
  const place = resolve(file) // which can't be taken for an option
  return spawn('/bin/sh', ['-c', keeper, 'hexz', program, '-r', place, '--fd', '3'], {
    stdio: ['pipe', 'ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...env, FOLDER: dirname(place) }
  })
}

async function findNbdfuse(): Promise<string> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, 'nbdfuse')
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false
    )
    if (isThere) return path
  }
  throw new UnsupportedError(
    'PROGRAM_MISSING',
    'hexz mount needs nbdfuse: install libnbd-bin and fuse3 (Debian, Ubuntu) or nbdfuse (Fedora); or use hexz serve with an NBD client'
  )
}

/** Waits until the file is there, says so, and unmounts when we are told to stop. @param below as for `appears` */
async function hold(child: ChildProcess, file: string, below: number, signal: AbortSignal): Promise<void> {
  let words = ''
  child.stderr?.on('data', (text: Buffer) => (words = (words + text.toString()).slice(-1000)))
  child.stdin?.on('error', () => undefined) // it has ended already
  const stop = (): void => void child.stdin?.end()
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop)
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  try {
    const isThere = await appears(file, below, child)
    if (isThere) process.stdout.write(`${printable(file)}\n`)
    else stop()
    const [code] = await ended
    if (signal.aborted || (isThere && code === 0)) return // we unmounted it, or somebody did
    const why = words.trim() === '' ? `nbdfuse ended with code ${code ?? 'of a signal'}` : words.trim()
    const what = isThere ? 'is mounted no more' : "can't be mounted"
    throw new TargetError('TARGET_UNWRITABLE', `${file} ${what}: ${why}`, { where: file })
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/**
 * Whether the file is there before nbdfuse has ended, or too long has passed.
 *
 * @param below device of the folder that is mounted over: a file of that name may lie in it
 */
async function appears(file: string, below: number, child: ChildProcess): Promise<boolean> {
  for (let waited = 0; waited < mountMs && child.exitCode === null && child.signalCode === null;) {
    const found = await stat(file).catch(() => undefined)
    if (found !== undefined && found.dev !== below) return true
    await new Promise((resolve) => setTimeout(resolve, pollMs))
    waited += pollMs
  }
  return false
}
