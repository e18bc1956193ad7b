/**
 * Builds a file encrypted and plain in turns, five times each, and prints the medians of the wall times
 * and their ratio. In turns, because a machine's speed drifts.
 *
 *   node dist/bench/encrypted-pair.js FILE [build options…]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const runCount = 5
const [file, ...options] = process.argv.slice(2)
if (file === undefined)
  throw new Error('name a file: node dist/bench/encrypted-pair.js FILE [build options…]')
const cli = fileURLToPath(new URL('../cli.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'hexz-bench-'))
const target = join(folder, 'a.st')

async function timeBuild(flags: readonly string[]): Promise<number> {
  rmSync(target, { force: true })
  const words = [cli, 'build', file ?? '', '-o', target, '--progress', 'none', ...options, ...flags]
  const start = performance.now()
  const child = spawn(process.execPath, words, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, HEXZ_PASSPHRASE: 'bench' }
  })
  let messages = ''
  child.stderr.on('data', (text: Buffer) => (messages += text.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`hexz build ended with ${code}: ${messages}`)
  return performance.now() - start
}

function describe(name: string, times: readonly number[]): { line: string; median: number } {
  const sorted = [...times].sort((a, b) => a - b)
  const [min = 0, median = 0, max = 0] = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)]
  const text = [min, median, max].map((ms) => (ms / 1000).toFixed(2)).join(' / ')
  return { line: `${name}: min / median / max ${text} s`, median }
}

try {
  await timeBuild([]) // fills the page cache
  const encrypted: number[] = []
  const plain: number[] = []
  for (let run = 0; run < runCount; run++) {
    encrypted.push(await timeBuild(['--encrypt']))
    plain.push(await timeBuild([]))
  }
  const [a, b] = [describe('encrypted', encrypted), describe('plain', plain)]
  process.stdout.write(`${a.line}\n${b.line}\nencrypted / plain: ${(a.median / b.median).toFixed(2)}\n`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
