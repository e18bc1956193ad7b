/**
 * Reads of `hexz serve` beside `qemu-nbd` on a zstd qcow2 of the same image, with the same clients (fio,
 * nbdcopy), in turn in one run: random reads of 4 KiB and 64 KiB at depth 1 and 16, and everything from
 * front to back.
 *
 *   node dist/bench/random-reads.js IMAGE [--profile NAME] [--seconds N] [--rounds N] [serve options…]
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  cli,
  mustHave,
  readAll,
  readAtRandom,
  runToEnd,
  startServer,
  stopServer,
  type Rate,
  type Server
} from './servers.js'

const args = process.argv.slice(2)
const option = (name: string, preset: string): string => {
  const at = args.indexOf(`--${name}`)
  return at === -1 ? preset : (args.splice(at, 2)[1] ?? preset)
}
const profile = option('profile', 'generic')
const seconds = Number(option('seconds', '4'))
const roundCount = Number(option('rounds', '3'))
const [image, ...serveOptions] = args
if (image === undefined) throw new Error('name an image: node dist/bench/random-reads.js IMAGE')
mustHave('fio', 'nbdcopy', 'qemu-img', 'qemu-nbd')

const size = statSync(image).size
const folder = mkdtempSync(join(tmpdir(), 'hexz-bench-'))
const at = (name: string): string => join(folder, name)
const print = (line: string): void => void process.stdout.write(`${line}\n`)
const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0

/** Runs `measure` on each server in turn, so many rounds. */
async function inTurn<T>(
  servers: readonly Server[],
  measure: (server: Server) => Promise<T>
): Promise<Map<Server, T[]>> {
  const results = new Map<Server, T[]>(servers.map((server) => [server, []]))
  for (let round = 0; round < roundCount; round++)
    for (const server of servers) results.get(server)?.push(await measure(server))
  return results
}

async function compare(servers: readonly Server[]): Promise<void> {
  for (const blockSize of [4096, 65_536]) {
    for (const depth of [1, 16]) {
      const results = await inTurn(servers, (server) =>
        readAtRandom(server, { blockSize, depth, seconds, size })
      )
      print(`random reads of ${blockSize / 1024} KiB, depth ${depth}`)
      for (const [{ name }, rates] of results) {
        const of = (key: keyof Rate): string =>
          median(rates.map((rate) => rate[key]))
            .toFixed(0)
            .padStart(7)
        print(
          `  ${name.padEnd(9)} ${of('perSecond')} reads/s   p50 ${of('p50')} µs   p99 ${of('p99')} µs   processor ${of('processor')} µs/read`
        )
      }
    }
  }
  print('everything from front to back')
  for (const [{ name }, rates] of await inTurn(servers, (server) => readAll(server, size)))
    print(`  ${name.padEnd(9)} ${median(rates).toFixed(0).padStart(7)} MB/s`)
}

const servers: Server[] = []
try {
  runToEnd(process.execPath, [cli, 'build', image, '-o', at('a.st'), '-p', profile, '--progress', 'none'])
  runToEnd('qemu-img', [
    ...['convert', '-f', 'raw', '-O', 'qcow2', '-c', '-o', 'compression_type=zstd'],
    image,
    at('a.qcow2')
  ])
  print(
    `Node ${process.version}, ${availableParallelism()} cores; ${image}, ${size} bytes; profile ${profile}: ${statSync(at('a.st')).size} bytes, qcow2 with zstd: ${statSync(at('a.qcow2')).size} bytes; medians of ${roundCount} rounds of ${seconds} s`
  )
  const ours = [cli, 'serve', at('a.st'), '--nbd', `unix:${at('a')}`, ...serveOptions]
  servers.push(await startServer('hexz', at('a'), process.execPath, ours))
  const theirs = ['-r', '-t', '-e', '0', '-f', 'qcow2', '-k', at('b'), at('a.qcow2')]
  servers.push(await startServer('qemu-nbd', at('b'), 'qemu-nbd', theirs))
  await compare(servers)
} finally {
  for (const server of servers) await stopServer(server)
  rmSync(folder, { recursive: true })
}
