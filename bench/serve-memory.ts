/**
 * 64 connections read at random from `hexz serve`, and the peak of its memory is printed beside what is
 * promised: the cache and 150 MiB.
 *
 *   node dist/bench/serve-memory.js SNAPSHOT [--seconds N] [serve options…]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSnapshot } from '../lib/index.js'
import { cli, mustHave, peakOf, readAll, readAtRandom, startServer, stopServer } from './servers.js'

const args = process.argv.slice(2)
const secondsAt = args.indexOf('--seconds')
const seconds = secondsAt === -1 ? 10 : Number(args.splice(secondsAt, 2)[1])
const [path, ...serveOptions] = args
if (path === undefined) throw new Error('name a snapshot: node dist/bench/serve-memory.js SNAPSHOT')
mustHave('fio', 'nbdcopy')

const cacheMiB = 64
const promisedMiB = cacheMiB + 150
const snapshot = await openSnapshot(path)
const size = snapshot.streams[0]?.size ?? 0
await snapshot.close()
const folder = mkdtempSync(join(tmpdir(), 'hexz-bench-'))
const socket = join(folder, 's')
const command = [
  cli,
  'serve',
  path,
  '--nbd',
  `unix:${socket}`,
  '--cache-size',
  `${cacheMiB}M`,
  ...serveOptions
]
const server = await startServer('hexz', socket, process.execPath, command)
try {
  const print = (what: string): void =>
    void process.stdout.write(`${what}: peak ${peakOf(server).toFixed(0)} MiB, promised ${promisedMiB} MiB\n`)
  print('at rest')
  for (const blockSize of [4096, 65_536, 1024 * 1024]) {
    await readAtRandom(server, { blockSize, depth: 4, jobCount: 64, seconds, size })
    print(`64 connections, ${blockSize / 1024} KiB at depth 4`)
  }
  await readAll(server, size)
  print('everything from front to back')
  process.exitCode = peakOf(server) <= promisedMiB ? 0 : 1
} finally {
  await stopServer(server)
  rmSync(folder, { recursive: true })
}
