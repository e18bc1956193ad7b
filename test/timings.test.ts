import { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { build } from '../lib/index.js'
import type { Timings } from '../lib/timings.js'
import { randomBytes } from './helpers/data.js'
import { runCli } from './helpers/run-cli.js'

const piece = randomBytes(1024 * 1024, 1)

async function* source(pauseMs: number): AsyncGenerator<Buffer> {
  for (let i = 0; i < 6; i++) {
    await delay(pauseMs)
    yield piece
  }
}

async function timingsOf(pauseMs: { source: number; target: number }): Promise<Timings> {
  let timings: Timings | undefined
  const target = new Writable({
    highWaterMark: 1,
    write: (_piece, _encoding, done) => void setTimeout(done, pauseMs.target)
  })
  await build({
    source: source(pauseMs.source),
    target,
    chunkSize: 4096,
    concurrency: 1,
    onTimings: (taken) => (timings = taken)
  })
  if (timings === undefined) throw new Error('no timings were given')
  return timings
}

const limitedBy = ({ stages }: Timings, name: string): number =>
  stages.find((stage) => stage.name === name)?.limited ?? 0

await t.test('the stages add up to the wall time, and the slow one is named', async (t) => {
  const slowSource = await timingsOf({ source: 150, target: 0 })
  const slowTarget = await timingsOf({ source: 0, target: 150 })
  for (const { wall, stages } of [slowSource, slowTarget]) {
    t.strictSame(
      stages.map(({ name }) => name),
      [
        'reader',
        'chunker',
        'dedup filter',
        'dictionary sampler',
        'compressor',
        'indexer',
        'encryptor',
        'sink'
      ]
    )
    const sum = stages.reduce((total, { limited }) => total + limited, 0)
    t.ok(Math.abs(sum - wall) < 0.001 * wall, `${sum} of ${wall}`)
  }
  t.ok(limitedBy(slowSource, 'reader') > 0.6, JSON.stringify(slowSource))
  t.ok(limitedBy(slowTarget, 'sink') > 2 * limitedBy(slowTarget, 'reader'), JSON.stringify(slowTarget))
  const compressor = slowSource.stages.find(({ name }) => name === 'compressor')
  t.ok((compressor?.worked ?? 0) > 0, 'the thread has worked for the compressor')
})

await t.test('--timings says them, as text and as JSON', async (t) => {
  const args = ['build', '-', '--timings', '--progress', 'none']
  const text = await runCli(args, { stdin: piece })
  t.match(text.stderr, /\n {2}waited for +[\d.]+ s +threads worked\n {4}reader +[\d.]+ s +\d+ %\n/)
  t.match(text.stderr, /\n {4}compressor +[\d.]+ s +\d+ % +[\d.]+ s\n/)
  const json = await runCli([...args, '--json'], { stdin: piece })
  const { timings } = JSON.parse(json.stderr) as { timings: Timings }
  t.equal(timings.stages.length, 8)
  const without = await runCli(['build', '-', '--progress', 'none'], { stdin: piece })
  t.notMatch(without.stderr, 'waited for')
})
