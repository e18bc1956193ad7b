import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import * as library from '../../lib/index.js'
import * as stages from '../../transforms/index.js'
import { root, run } from './run.js'

/* docs/api.md: each block runs, and each export is in one. */

const page = readFileSync(join(root, 'docs', 'api.md'), 'utf8')
const blocks = [...page.matchAll(/^```js\n([^]*?)^```$/gm)].map((match) => match[1] ?? '')

await t.test('each export has an example', (t) => {
  const imported = (from: string): Set<string> =>
    new Set(
      blocks.flatMap((block) =>
        [...block.matchAll(/import \{([^}]*)\} from '([^']*)'/g)]
          .filter((match) => match[2] === from)
          .flatMap((match) => (match[1] ?? '').split(',').map((name) => name.trim()))
      )
    )
  for (const [name, exports] of Object.entries({ hexz: library, 'hexz/transforms': stages })) {
    const shown = imported(name)
    t.strictSame(
      Object.keys(exports).filter((one) => !shown.has(one)),
      [],
      `of ${name}, all are shown`
    )
    t.strictSame(
      [...shown].filter((one) => one !== '' && !(one in exports)),
      [],
      `of ${name}, nothing else is`
    )
  }
  t.end()
})

await t.test('each block runs', async (t) => {
  const folder = t.testdir()
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(root, join(folder, 'node_modules', 'hexz'))
  symlinkSync(join(root, 'node_modules', 'stream-chain'), join(folder, 'node_modules', 'stream-chain'))
  copyFileSync(join(root, 'samples', 'disk.img'), join(folder, 'disk.img'))
  const said: string[] = []
  for (const [number, block] of blocks.entries()) {
    const name = `block-${number}.mjs`
    writeFileSync(join(folder, name), block)
    const { exitCode, stdout, stderr } = await run(process.execPath, [name], { cwd: folder })
    t.equal(exitCode, 0, `${block.split('\n').at(-2) ?? ''}: ${stderr}`)
    said.push(stdout.toString())
  }
  const all = said.join('')
  const disk = readFileSync(join(folder, 'disk.img'))
  t.match(all, /^ef53$/m, 'the superblock')
  t.match(all, /^data 0 \d+$/m, 'extents')
  t.match(all, /^0 bytes differed$/m, 'in place, the same disk')
  t.match(all, /^false \d+$/m, 'recovered of a cut')
  t.match(all, /^differs 100000 100001$/m)
  t.match(all, /'0 passphrase',\n? *'1 recipient',\n? *'2 passphrase'/, 'the slots as of the backup')
  t.match(all, /^true CorruptError NOT_A_SNAPSHOT 5$/m)
  t.ok(readFileSync(join(folder, 'back.img')).equals(disk))
  t.ok(readFileSync(join(folder, 'copy.img')).equals(disk))
  const byHand = await library.openSnapshot(join(folder, 'by-hand.st'), { passphrase: 'nine lives' })
  const log = readFileSync(join(folder, 'events.log'))
  t.ok((await byHand.read('disk', 0, log.length)).equals(log), 'built by hand')
  await byHand.close()
})
