import { once } from 'node:events'
import { UsageError } from '../errors.js'
import { isLocal, parseAddress, type Address } from '../serve/address.js'
import { serve as startServing } from '../serve/serve.js'
import type { Command } from './command.js'
import { openSnapshotBytes } from './open-input.js'
import { concurrencyOption, sizeNote, sizeOption, textFlag } from './options.js'
import { openWithCredentials } from './credentials.js'
import { openFlags } from './passphrase.js'
import { printable } from './printable.js'
import { formatSize } from './progress.js'
import { createTeller } from './report.js'

/** The port that is registered for NBD. */
const defaultNbd = '127.0.0.1:10809'

/** A snapshot as a read-only disk, for as long as nobody stops it. */
export const serve: Command = {
  name: 'serve',
  summary: 'offer a snapshot as a read-only disk over NBD or HTTP',
  usage: ['SNAPSHOT', 'SNAPSHOT --nbd unix:PATH', 'SNAPSHOT --nbd HOST:PORT --http HOST:PORT'],
  places: [{ role: 'input', name: 'the snapshot' }],
  flags: {
    nbd: {
      type: 'string',
      value: 'ADDRESS',
      help: `NBD server; default ${defaultNbd}, unless --http is given`
    },
    http: { type: 'string', value: 'ADDRESS', help: 'HTTP server: /disk and /memory, with ranges' },
    ...openFlags,
    cacheSize: {
      type: 'string',
      value: 'SIZE',
      help: 'decoded chunks kept in memory; default 64M, 0 for none'
    },
    concurrency: {
      type: 'string',
      value: 'N',
      help: 'worker threads that decode, 0 to 64; default 1, with 0 decoding goes on between the answers'
    }
  },
  notes: [
    'ADDRESS is unix:PATH, HOST:PORT, or PORT on 127.0.0.1; port 0 is any free one. The addresses in use are',
    'printed as URIs on standard output when clients can connect. Nothing asks clients who they are: a unix',
    'socket is open to its owner, a port to whoever reaches it.',
    sizeNote
  ].join('\n'),
  async run(args, { signal }) {
    const [path] = args.places
    if (path === undefined) throw new UsageError('no snapshot is named; give a file, or - for standard input')
    const http = addressOption('http', textFlag(args, 'http'))
    const nbd = addressOption('nbd', textFlag(args, 'nbd') ?? (http === undefined ? defaultNbd : undefined))
    const options = {
      concurrency: 1,
      ...concurrencyOption(args, 0),
      ...sizeOption(args, 'cacheSize', 'cacheSize')
    }
    const source = await openSnapshotBytes(path)
    const snapshot = await openWithCredentials(args, source, signal, options)
    try {
      const serving = await startServing(snapshot, {
        ...(nbd === undefined ? {} : { nbd }),
        ...(http === undefined ? {} : { http }),
        onProblem: createTeller()
      })
      try {
        for (const address of [nbd, http]) if (address !== undefined) warn(address)
        const what = snapshot.streams.map(({ name, size }) => `${name} (${formatSize(size)})`).join(' and ')
        process.stderr.write(
          `hexz: ${printable(`serving ${what} of ${path === '-' ? path : snapshot.name}`)} until it is stopped\n`
        )
        process.stdout.write(serving.uris.map((uri) => `${uri}\n`).join(''))
        if (!signal.aborted) await once(signal, 'abort')
      } finally {
        await serving.close()
      }
    } finally {
      await snapshot.close()
    }
    signal.throwIfAborted()
  }
}

function addressOption(flag: string, text: string | undefined): Address | undefined {
  return text === undefined ? undefined : parseAddress(text, `--${flag}`)
}

function warn(address: Address): void {
  if (address.kind === 'unix' || isLocal(address)) return
  process.stderr.write(
    `hexz: other machines may reach ${address.host}, and whoever does can read all of the snapshot\n`
  )
}
