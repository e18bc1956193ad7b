import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { finished, runCli, scratch, startCli } from '../helpers/run-cli.js'
import { bombs } from './bombs.js'
import { heldBy, heldMax, nodeOptions } from './peak.js'

/** Bombs that are compared, and that a server offers to many readers. */

await t.test('diff of two bombs', async (t) => {
  const folder = scratch(t)
  for (const name of ['zstdBlocks', 'lz4Blocks', 'endlessHole', 'sharedBlock'] as const)
    writeFileSync(join(folder, `${name}.st`), bombs[name]())
  for (const [one, other, code] of [
    ['zstdBlocks', 'endlessHole', 5],
    ['lz4Blocks', 'endlessHole', 5],
    ['zstdBlocks', 'lz4Blocks', 9], // equal digests: nothing is decoded
    ['sharedBlock', 'endlessHole', 9]
  ] as const) {
    const args = ['diff', `${one}.st`, `${other}.st`, '--concurrency', '2']
    const result = await runCli(args, { cwd: folder, nodeOptions })
    t.equal(result.code, code, result.stderr)
    const held = heldBy(result.stderr)
    t.ok(held < heldMax, `${args.join(' ')} held ${Math.round(held / 2 ** 20)} MiB`)
  }
})

await t.test('serve: many readers of a bomb at once', async (t) => {
  const folder = scratch(t)
  for (const [name, expected] of [
    ['zstdBlocks', 'cut off'],
    ['sharedBlock', 'whole']
  ] as const) {
    writeFileSync(join(folder, 'bomb.st'), bombs[name]())
    const server = startCli(['serve', 'bomb.st', '--http', '0'], { cwd: folder, nodeOptions })
    const ended = finished(server)
    const [line] = (await once(server.stdout ?? server, 'data')) as [Buffer]
    const url = /http:\S+/.exec(line.toString())?.[0] ?? ''
    const readers = Array.from({ length: 32 }, async (_, i) => {
      const from = i * 131_072
      const headers = { range: `bytes=${from}-${from + 65_535}` }
      return fetch(`${url}disk`, { headers })
        .then((response) => response.arrayBuffer())
        .then(
          (body) => (body.byteLength === 65_536 ? 'whole' : 'short'),
          () => 'cut off'
        )
    })
    t.strictSame(await Promise.all(readers), Array<string>(32).fill(expected), name)
    // It ends by its signal, and says nothing then; Linux tells of a process that runs.
    const status = await readFile(`/proc/${server.pid ?? 0}/status`, 'utf8').catch(() => undefined)
    server.kill('SIGTERM')
    const { stderr } = await ended
    t.ok(stderr.length < 2 ** 20, 'no flood of messages')
    if (status === undefined) {
      t.comment('there is no /proc here: the memory of the server is not measured')
      continue
    }
    const held = Number(/VmHWM:\s*(\d+)/.exec(status)?.[1]) * 1024
    t.ok(held < heldMax, `${name}: the server held ${Math.round(held / 2 ** 20)} MiB`)
  }
})
