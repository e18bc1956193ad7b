import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, openSync, closeSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeKeyPair } from '../../lib/crypto/keys.js'
import { randomBytes, textBytes } from '../helpers/data.js'
import {
  cliPath,
  failsWith,
  finished,
  runCli,
  scratch,
  startCli,
  type CliResult
} from '../helpers/run-cli.js'

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

async function setUp(t: Test): Promise<{ cwd: string; at: (name: string) => string }> {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  writeFileSync(at('disk.img'), disk)
  for (const name of ['a', 'b']) {
    const pair = await makeKeyPair(2048, name, 9, undefined)
    writeFileSync(at(`${name}.key`), pair.privateKey)
    writeFileSync(at(`${name}.crt`), pair.certificate)
  }
  return { cwd, at }
}

await t.test('a passphrase from the environment, a file, a descriptor', async (t) => {
  const { cwd, at } = await setUp(t)
  writeFileSync(at('p'), `${first}\r\nsecond line\n`)
  writeFileSync(at('empty'), '\n')
  const built = await run(['build', 'disk.img', '-e', '-o', 'e.st', '--progress', 'json'], {
    cwd,
    env: { HEXZ_PASSPHRASE: first }
  })
  t.equal(built.code, 0, built.stderr)
  const fromFile = await run(['extract', 'e.st', '--passphrase-file', 'p'], { cwd })
  t.ok(fromFile.stdout.equals(disk))
  const fd = openSync(at('p'), 'r')
  const child = startCli(['extract', 'e.st', '--passphrase-fd', '3'], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe', fd]
  })
  t.ok((await finished(child)).stdout.equals(disk))
  closeSync(fd)
  const message = 'the passphrase is wrong: no key slot of e.st opens with it'
  for (const command of [
    ['extract', 'e.st'],
    ['verify', 'e.st'],
    ['recover', 'e.st', '-o', 'r.img']
  ])
    failsWith(
      t,
      await run(command, { cwd, env: { HEXZ_PASSPHRASE: second } }),
      { code: 6, message },
      command[0] ?? ''
    )
  const json = await run(['inspect', 'e.st', '--json'], { cwd, env: { HEXZ_PASSPHRASE: second } })
  t.strictSame([json.code, (JSON.parse(json.stderr) as { code: string }).code], [6, 'KEY_WRONG'])
  const empty = { code: 6, message: 'the passphrase is empty; give one of at least one character' }
  failsWith(
    t,
    await run(['build', 'disk.img', '-e', '--passphrase-file', 'empty'], { cwd }),
    empty,
    'empty file'
  )
  failsWith(
    t,
    await run(['build', 'disk.img', '-e'], { cwd, env: { HEXZ_PASSPHRASE: '' } }),
    empty,
    'empty variable'
  )

  // Damage is told apart from a wrong key.
  copyFileSync(at('e.st'), at('d.st'))
  const bytes = readFileSync(at('d.st'))
  bytes[60_000] = (bytes[60_000] ?? 0) ^ 1
  writeFileSync(at('d.st'), bytes)
  const damaged = await run(['verify', 'd.st'], { cwd, env: { HEXZ_PASSPHRASE: first } })
  failsWith(t, damaged, { code: 5, message: /^hexz: d\.st is damaged at byte \d+: / }, 'damage')
})

await t.test('without a terminal a missing passphrase is told', async (t) => {
  const { cwd } = await setUp(t)
  const child = spawn('setsid', ['-w', process.execPath, cliPath, 'build', 'disk.img', '-e'], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' }
  })
  failsWith(
    t,
    await finished(child),
    {
      code: 6,
      message:
        'a passphrase is needed and there is no terminal to ask on; give --passphrase-file, --passphrase-fd or HEXZ_PASSPHRASE'
    },
    'no terminal'
  )
})

await t.test('keys: list, add, remove; only the slot changes; recover what was cut off', async (t) => {
  const { cwd, at } = await setUp(t)
  const built = await run(['build', 'disk.img', '--recipient', 'a.crt', '-o', 'r.st'], { cwd })
  t.equal(built.code, 0, built.stderr)
  const before = readFileSync(at('r.st'))
  const slots = before.readUInt32LE(12)
  const changed = (): number[] => {
    const now = readFileSync(at('r.st'))
    t.equal(now.length, before.length)
    const places = [...now.keys()].filter((i) => now[i] !== before[i])
    return [...new Set(places.map((i) => Math.floor((i - slots) / 640)))]
  }
  const added = await run(['key', 'add', 'r.st', '--recipient', 'b.crt', '--identity', 'a.key'], { cwd })
  t.strictSame([added.code, added.stderr], [0, 'hexz: r.st: key added in slot 1\n'])
  t.strictSame(changed(), [1], 'only the 640 bytes of slot 1')
  for (const name of ['a.key', 'b.key'])
    t.ok((await run(['extract', 'r.st', '--identity', name], { cwd })).stdout.equals(disk), name)

  const removed = await run(['key', 'remove', 'r.st', '0'], { cwd })
  t.strictSame([removed.code, removed.stderr], [0, 'hexz: r.st: key removed from slot 0\n'])
  t.strictSame(changed(), [0, 1])
  const wrong = 'the identity is wrong: no key slot of r.st opens with it'
  failsWith(
    t,
    await run(['extract', 'r.st', '--identity', 'a.key'], { cwd }),
    { code: 6, message: wrong },
    'removed'
  )
  failsWith(
    t,
    await run(['key', 'remove', 'r.st', '1'], { cwd }),
    {
      code: 6,
      message: 'slot 1 holds the last key of r.st; without it nobody could open the snapshot, so it stays'
    },
    'the last'
  )
  const listed = await run(['key', 'list', 'r.st'], { cwd })
  t.match(listed.stdout.toString(), /^ 1 {2}recipient {3}key id [0-9a-f]{64}\n$/)

  truncateSync(at('r.st'), 100_000)
  const cut = await run(['verify', 'r.st', '--identity', 'b.key'], { cwd })
  t.equal(cut.code, 5)
  t.match(cut.stderr, /^hexz: r\.st is incomplete: /)
  const recovered = await run(['recover', 'r.st', '-o', 'part.img', '--identity', 'b.key'], { cwd })
  t.equal(recovered.code, 0, recovered.stderr)
  const part = readFileSync(at('part.img'))
  t.ok(part.length >= 65_536 && part.equals(disk.subarray(0, part.length)), 'a prefix of the source')
})

const hasScript = ((): boolean => {
  try {
    return execFileSync('script', ['--version']).toString().includes('util-linux')
  } catch {
    return false
  }
})()

/** Runs a shell command on a terminal of its own, and answers each prompt when it comes. */
async function onTerminal(
  cwd: string,
  command: string,
  answers: readonly string[]
): Promise<{ code: number | null; shown: string }> {
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    cwd,
    stdio: 'pipe',
    env: { ...process.env, NODE_OPTIONS: '' }
  })
  const left = [...answers]
  let shown = ''
  let seen = 0
  child.stdout.on('data', (text: Buffer) => {
    shown += text.toString()
    const prompts = shown.match(/(passphrase|Passphrase|Again): /g)?.length ?? 0
    for (; seen < prompts; seen++) child.stdin.write(`${left.shift() ?? ''}\r`)
  })
  const timer = setTimeout(() => child.kill(), 60_000)
  const [code] = (await once(child, 'close')) as [number | null]
  clearTimeout(timer)
  printed.push(shown)
  return { code, shown }
}

await t.test(
  'on a terminal',
  { skip: hasScript ? false : 'script of util-linux is not installed' },
  async (t) => {
    const { cwd, at } = await setUp(t)
    const hexz = `'${process.execPath}' '${cliPath}'`
    const built = await onTerminal(cwd, `cat disk.img | ${hexz} build - -e -o t.st --progress none`, [
      first,
      first
    ])
    t.equal(built.code, 0, built.shown)
    t.match(
      built.shown,
      /^New passphrase: \r\nAgain: \r\nhexz: t\.st: /,
      'asked twice, and nothing is echoed'
    )
    const back = await run(['extract', 't.st'], { cwd, env: { HEXZ_PASSPHRASE: first } })
    t.ok(back.stdout.equals(disk))
    const opened = await onTerminal(cwd, `${hexz} extract t.st -o back.img --progress none`, [first])
    t.equal(opened.code, 0, opened.shown)
    t.match(opened.shown, /^Passphrase: \r\nhexz: back\.img: /)
    t.ok(readFileSync(at('back.img')).equals(disk))
    const differ = await onTerminal(cwd, `${hexz} build disk.img -e -o u.st`, [first, second])
    t.equal(differ.code, 6)
    t.match(differ.shown, /hexz: the two passphrases differ; nothing was done\r\n$/)
  }
)

await t.test('no secret was printed anywhere', (t) => {
  t.ok(printed.length > 20)
  for (const secret of secrets) t.notOk(printed.some((text) => text.includes(secret)))
  t.end()
})
