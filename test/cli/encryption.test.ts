import { openSync, closeSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeKeyPair } from '../../lib/crypto/keys.js'
import { build, openSnapshot } from '../../lib/index.js'
import { cheapScrypt } from '../crypto/sealed.js'
import { randomBytes, textBytes } from '../helpers/data.js'
import { eachOf, failsWith, finished, runCli, scratch, startCli, type CliResult } from '../helpers/run-cli.js'

const disk = Buffer.concat([textBytes(100_000, 1), randomBytes(100_000, 2)])
/** Nothing that was printed may have one of these in it. */
const secrets = ['secret-4711', 'other-0815']
const [first = '', second = ''] = secrets
const printed: string[] = []

async function run(...args: Parameters<typeof runCli>): Promise<CliResult> {
  const result = await runCli(...args)
  printed.push(result.stdout.toString('latin1'), result.stderr)
  return result
}

/** A folder with a source, and a snapshot that opens with the first passphrase in no time. */
async function setUp(t: Test): Promise<{ cwd: string; at: (name: string) => string }> {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  writeFileSync(at('disk.img'), disk)
  const locks = { passphrase: first, scrypt: cheapScrypt }
  await build({ source: at('disk.img'), target: at('e.st'), concurrency: 1, locks })
  return { cwd, at }
}

await t.test('a passphrase from the environment, a file, a descriptor', async (t) => {
  const { cwd, at } = await setUp(t)
  writeFileSync(at('p'), `${first}\r\nsecond line\n`)
  writeFileSync(at('q'), second)
  writeFileSync(at('empty'), '\n')
  writeFileSync(at('bytes'), Buffer.from([0x70, 0xff, 0x0a]))
  const env = { HEXZ_PASSPHRASE: first }

  const built = await run(['build', 'disk.img', '-e', '-o', 'b.st', '--progress', 'json'], { cwd, env })
  t.equal(built.code, 0, built.stderr)
  const opened = await openSnapshot(at('b.st'), { passphrase: first })
  t.ok((await opened.read('disk', 0, disk.length)).equals(disk))
  await opened.close()

  const fd = openSync(at('p'), 'r')
  const ways: (() => Promise<CliResult>)[] = [
    () => run(['extract', 'e.st'], { cwd, env }),
    () => run(['extract', 'e.st', '--passphrase-file', 'p'], { cwd, env: { HEXZ_PASSPHRASE: second } }),
    () =>
      finished(
        startCli(['extract', 'e.st', '--passphrase-fd', '3'], { cwd, stdio: ['ignore', 'pipe', 'pipe', fd] })
      )
  ]
  await eachOf(ways, async (extract) => {
    t.ok((await extract()).stdout.equals(disk))
  })
  closeSync(fd)

  const wrong = 'the passphrase is wrong: no key slot of e.st opens with it'
  const empty = 'the passphrase is empty; give one of at least one character'
  const refused: [words: string, env: Record<string, string>, code: number, message: string][] = [
    ['extract e.st', { HEXZ_PASSPHRASE: second }, 6, wrong],
    ['verify e.st --passphrase-file q', env, 6, wrong],
    ['recover e.st -o r.img', { HEXZ_PASSPHRASE: second }, 6, wrong],
    ['build disk.img -e --passphrase-file empty', env, 6, empty],
    ['build disk.img -e', { HEXZ_PASSPHRASE: '' }, 6, empty],
    ['build disk.img -e --passphrase-file bytes', env, 6, 'the passphrase in bytes is not text in UTF-8'],
    ['extract e.st --passphrase-file none', env, 3, 'none does not exist'],
    [
      'build disk.img --passphrase-file p',
      {},
      2,
      'a passphrase is named, but not --encrypt; add -e to encrypt'
    ]
  ]
  await eachOf(refused, async ([words, env, code, message]) => {
    failsWith(t, await run(words.split(' '), { cwd, env }), { code, message }, words)
  })
  const json = await run(['inspect', 'e.st', '--json'], { cwd, env: { HEXZ_PASSPHRASE: second } })
  t.strictSame([json.code, (JSON.parse(json.stderr) as { code: string }).code], [6, 'KEY_WRONG'])
})

await t.test('damage is told apart from a wrong key; what was cut off comes back', async (t) => {
  const { cwd, at } = await setUp(t)
  const env = { HEXZ_PASSPHRASE: first }
  const bytes = readFileSync(at('e.st'))
  bytes[60_000] = (bytes[60_000] ?? 0) ^ 1
  writeFileSync(at('d.st'), bytes)
  const damaged = await run(['verify', 'd.st'], { cwd, env })
  failsWith(t, damaged, { code: 5, message: /^hexz: d\.st is damaged at byte \d+: / }, 'damage')

  const pair = await makeKeyPair(2048, 'a', 9, undefined)
  writeFileSync(at('a.key'), pair.privateKey)
  writeFileSync(at('a.crt'), pair.certificate)
  const built = await run(['build', 'disk.img', '--recipient', 'a.crt', '-o', 'r.st'], { cwd })
  t.equal(built.code, 0, built.stderr)
  truncateSync(at('r.st'), 100_000)
  const cut = await run(['verify', 'r.st', '--identity', 'a.key'], { cwd })
  failsWith(t, cut, { code: 5, message: /^hexz: r\.st is incomplete: / }, 'cut off')
  const recovered = await run(['recover', 'r.st', '-o', 'part.img', '--identity', 'a.key'], { cwd })
  t.equal(recovered.code, 0, recovered.stderr)
  const part = readFileSync(at('part.img'))
  t.ok(part.length >= 65_536 && part.equals(disk.subarray(0, part.length)), 'a prefix of the source')
})

await t.test('no secret was printed anywhere', (t) => {
  t.ok(printed.length > 20)
  for (const secret of secrets) t.notOk(printed.some((text) => text.includes(secret)))
  t.end()
})
