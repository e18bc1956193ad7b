/**
 * Streams 32 GiB (or the size given) of mixed data through `hexz build - > /dev/null` and prints the peak
 * memory of the process beside what is promised: 200 MiB and 48 bytes for each unique chunk.
 *
 *   node dist/bench/stream-memory.js [SIZE] [build options…]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseSize } from '../lib/commands/options.js'
import { mixedData } from './mixed-data.js'

interface Summary {
  readonly rawSize: number
  readonly storedSize: number
  readonly peakMemory: number
  readonly elapsedMs: number
  readonly streams: readonly { readonly blockCount: number }[]
}

const [sizeText = '32G', ...options] = process.argv.slice(2)
const cli = fileURLToPath(new URL('../cli.js', import.meta.url))
const child = spawn(process.execPath, [cli, 'build', '-', '--json', '--progress', 'none', ...options], {
  stdio: 'pipe'
})
child.stdout.resume()
let report = ''
child.stderr.on('data', (text: Buffer) => {
  report += text.toString()
})
for (const piece of mixedData(parseSize(sizeText, 'SIZE'))) {
  if (!child.stdin.write(piece)) await once(child.stdin, 'drain')
}
child.stdin.end()
await once(child, 'close')

const { rawSize, storedSize, peakMemory, elapsedMs, streams } = JSON.parse(report) as Summary
const MiB = 1024 * 1024
const uniqueCount = streams.reduce((sum, stream) => sum + stream.blockCount, 0)
const promised = 200 * MiB + 48 * uniqueCount
const line = [
  `in ${(rawSize / MiB).toFixed(0)} MiB, out ${(storedSize / MiB).toFixed(0)} MiB, ${uniqueCount} unique chunks`,
  `${(rawSize / MiB / (elapsedMs / 1000)).toFixed(0)} MiB/s`,
  `peak memory ${(peakMemory / MiB).toFixed(0)} MiB, promised ${(promised / MiB).toFixed(0)} MiB`
].join('; ')
process.stdout.write(`${line}\n`)
process.exitCode = peakMemory <= promised ? 0 : 1
