import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdtemp, rm, stat } from 'node:fs/promises'
import { constants } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { TargetError, UnsupportedError, UsageError } from '../errors.js'
import { uriPath } from '../serve/address.js'
import { serve } from '../serve/serve.js'
import type { Command } from './command.js'
import { openSnapshotBytes } from './open-input.js'
import { sizeNote, sizeOption, takePlaces, textFlag } from './options.js'
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
    const [path, folder] = takePlaces(args, [undefined, undefined])
    if (path === undefined || folder === undefined)
      throw new UsageError('name a snapshot and an empty folder: hexz mount SNAPSHOT FOLDER')
    const cache = sizeOption(args, 'cacheSize', 'cacheSize')
    const program = await findNbdfuse()
    if ((await stat(folder).catch(() => undefined))?.isDirectory() !== true)
      throw new TargetError('TARGET_UNWRITABLE', `${folder} is no folder to mount in`, { where: folder })

    const source = await openSnapshotBytes(path)
    const snapshot = await openWithCredentials(args, source, signal, cache)
    const own = await mkdtemp(join(tmpdir(), 'hexz-'))
    try {
      const wanted = textFlag(args, 'stream') ?? snapshot.streams[0]?.name ?? ''
      if (!snapshot.streams.some(({ name }) => name === wanted))
        throw new UsageError(
          `${path} has no stream "${wanted}"; it has ${snapshot.streams.map(({ name }) => name).join(', ')}`
        )
      const socket = join(own, 'nbd')
      const serving = await serve(snapshot, {
        nbd: { kind: 'unix', path: socket },
        onProblem: createTeller()
      })
      try {
        const file = join(folder, wanted)
        const uri = `nbd+unix:///${encodeURIComponent(wanted)}?socket=${uriPath(socket)}`
        // In a group of its own: Ctrl-C is for us, and we unmount.
        const child = spawn(program, ['-r', file, uri], {
          stdio: ['ignore', 'ignore', 'pipe'],
          detached: true
        })
        await hold(child, file, signal)
      } finally {
        await serving.close()
      }
    } finally {
      await rm(own, { recursive: true, force: true })
      await snapshot.close()
    }
    signal.throwIfAborted()
  }
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

/** Waits until the file is there, says so, and unmounts when we are told to stop. */
async function hold(child: ChildProcess, file: string, signal: AbortSignal): Promise<void> {
  let words = ''
  child.stderr?.on('data', (text: Buffer) => (words = (words + text.toString()).slice(-1000)))
  const stop = (): void => void child.kill('SIGTERM')
  signal.addEventListener('abort', stop)
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  try {
    if (!(await appears(file, child))) {
      stop()
      const why = words.trim() === '' ? 'nbdfuse gave no reason' : words.trim()
      if (!signal.aborted)
        throw new TargetError('TARGET_UNWRITABLE', `${file} can't be mounted: ${why}`, { where: file })
    } else process.stdout.write(`${printable(file)}\n`)
    await ended
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** Whether the file is there before nbdfuse has ended, or too long has passed. */
async function appears(file: string, child: ChildProcess): Promise<boolean> {
  for (let waited = 0; waited < mountMs && child.exitCode === null && child.signalCode === null;) {
    if ((await stat(file).catch(() => undefined)) !== undefined) return true
    await new Promise((resolve) => setTimeout(resolve, pollMs))
    waited += pollMs
  }
  return false
}
