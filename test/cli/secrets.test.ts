import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { readSecret } from '../../lib/commands/secret.js'
import { makeKeyPair } from '../../lib/crypto/keys.js'
import { build, openSnapshot, recoverStream, verifySnapshot } from '../../lib/index.js'
import { openFileBytes } from '../../lib/reader/byte-source.js'
import { cheapScrypt } from '../crypto/sealed.js'
import { textBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import {
  contentsOf,
  eachOf,
  failsWith,
  finished,
  runCli,
  runShell,
  scratch,
  startCli,
  until
} from '../helpers/run-cli.js'
import { runHere } from '../helpers/run-here.js'

const disk = textBytes(100_000, 1)
const passphrase = 'one-4711'
const env = { HEXZ_PASSPHRASE: passphrase }
const pair = await makeKeyPair(2048, 'a', 9, undefined)

/** Snapshots of the same source, one encrypted and one that is not; a passphrase and a key for the first. */
async function setUp(t: Test): Promise<{ cwd: string; at: (name: string) => string }> {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  writeFileSync(at('disk.img'), disk)
  writeFileSync(at('p'), `${passphrase}\n`)
  writeFileSync(at('k.key'), pair.privateKey)
  writeFileSync(at('k.crt'), pair.certificate)
  const locks = { passphrase, recipients: [pair.publicKey], scrypt: cheapScrypt }
  await build({ source: at('disk.img'), target: at('e.st'), concurrency: 1, locks })
  await build({ source: at('disk.img'), target: at('plain.st'), concurrency: 1 })
  return { cwd, at }
}

const notEncrypted = (name: string): string =>
  `${name} is not encrypted, though a passphrase or identity is given for it: it may have been put in the place of the one that is; --allow-plain takes it all the same`

await t.test('a plain snapshot where one that is encrypted was expected', async (t) => {
  const { cwd, at } = await setUp(t)
  const commands = [
    'extract plain.st',
    'extract plain.st -o back.img',
    'inspect plain.st',
    'verify plain.st',
    'verify plain.st --quick',
    'diff plain.st plain.st',
    'diff e.st plain.st',
    'diff plain.st e.st',
    'serve plain.st --nbd unix:sock',
    'recover plain.st -o back.img'
  ]
  const before = contentsOf(cwd)
  const ways: [string, Record<string, string>][] = [
    ['--passphrase-file p', {}],
    ['--identity k.key', {}],
    ['', env]
  ]
  for (const words of commands)
    for (const [flags, variables] of ways) {
      const name = `${words} ${flags}`.trim()
      const result = await runHere(name.split(' '), { cwd, env: variables })
      failsWith(t, result, { code: 6, message: notEncrypted('plain.st') }, name)
    }
  const process = await runCli(['extract', 'plain.st', '--identity', 'k.key'], { cwd })
  failsWith(t, process, { code: 6, message: notEncrypted('plain.st') }, 'as a process')
  t.strictSame(contentsOf(cwd), before, 'no target')
  const missing: [words: string, message: string][] = [
    ['verify plain.st --passphrase-file none', 'none does not exist'],
    ['verify plain.st --identity none', 'none does not exist'],
    ['verify plain.st --passphrase-file none --allow-plain', 'none does not exist'],
    ['verify plain.st --passphrase-file .', '. is a directory'],
    ['verify plain.st --passphrase-fd 977', 'file descriptor 977 is not open']
  ]
  for (const [words, message] of missing)
    failsWith(t, await runHere(words.split(' '), { cwd }), { code: 3, message }, words)
  const allowed = [
    'extract plain.st -o back.img -f --progress none',
    'inspect plain.st',
    'verify plain.st',
    'diff e.st plain.st',
    'recover plain.st -o r.img'
  ]
  for (const words of allowed) {
    const result = await runCli([...words.split(' '), '--allow-plain', '--passphrase-file', 'p'], { cwd })
    t.equal(result.code, 0, `${words}: ${result.stderr}`)
  }
  t.ok(readFileSync(at('back.img')).equals(disk))
  t.ok(readFileSync(at('r.img')).equals(disk))
  t.equal((await runCli(['verify', 'plain.st'], { cwd })).code, 0, 'nothing was given')
  t.equal((await runCli(['verify', 'e.st', '--allow-plain'], { cwd, env })).code, 0)
})

await t.test('the same in the library', async (t) => {
  const { at } = await setUp(t)
  const path = at('plain.st')
  const target = { writeAt: () => Promise.resolve() }
  const words = notEncrypted(path).replace('--allow-plain', 'option allowPlain')
  const message = `KeyError NOT_ENCRYPTED: ${words}`
  const { createPrivateKey } = await import('node:crypto')
  for (const credentials of [{ passphrase }, { identity: createPrivateKey(pair.privateKey) }]) {
    t.equal(await rejected(openSnapshot(path, credentials)), message)
    const source = await openFileBytes(path)
    t.equal(await rejected(verifySnapshot(source, { ...credentials, concurrency: 0 })), message)
    t.equal(await rejected(recoverStream(source, target, credentials)), message)
    const allowed = { ...credentials, allowPlain: true }
    await verifySnapshot(source, { ...allowed, concurrency: 0 })
    t.equal((await recoverStream(source, target, allowed)).isComplete, true)
    await source.close()
    await (await openSnapshot(path, allowed)).close()
  }
})

await t.test('recover: a damaged header, and a key that was given', async (t) => {
  const { cwd, at } = await setUp(t)
  for (const name of ['plain.st', 'e.st']) writeFileSync(at(name), readFileSync(at(name)).fill(1, 20, 24))
  const why = (name: string): string =>
    `the header of ${name} is damaged: its checksum is wrong, and no key opens anything without it; put it back from a key backup; --allow-plain gets back what is not encrypted`
  for (const name of ['plain.st', 'e.st'])
    for (const words of [
      ['--passphrase-file', 'p'],
      ['--identity', 'k.key']
    ]) {
      const result = await runHere(['recover', name, '-o', 'r.img', ...words], { cwd })
      failsWith(t, result, { code: 5, message: why(name) }, name)
    }
  for (const words of [[], ['--passphrase-file', 'p', '--allow-plain']]) {
    const recovered = await runCli(['recover', 'plain.st', '-o', 'r.img', '-f', ...words], { cwd })
    t.equal(recovered.code, 0, recovered.stderr)
    t.ok(readFileSync(at('r.img')).equals(disk))
  }
})

await t.test('a variable that is no text', { skip: process.platform !== 'linux' }, async (t) => {
  const { cwd } = await setUp(t)
  const run = (script: string): ReturnType<typeof runShell> => runShell(script, { cwd })
  const message = 'the passphrase in HEXZ_PASSPHRASE is not text in UTF-8'
  const built = await run(`HEXZ_PASSPHRASE=$'caf\\xe9' hexz build disk.img -e -o l.st`)
  failsWith(t, built, { code: 6, message }, 'build')
  const opened = await run(`HEXZ_PASSPHRASE=$'caf\\xe8' hexz verify e.st`)
  failsWith(t, opened, { code: 6, message }, 'verify')
  const added = await run(`HEXZ_PASSPHRASE=${passphrase} HEXZ_NEW_PASSPHRASE=$'caf\\xe9' hexz key add e.st`)
  failsWith(
    t,
    added,
    { code: 6, message: 'the passphrase in HEXZ_NEW_PASSPHRASE is not text in UTF-8' },
    'key add'
  )
  // U+FFFD itself is text.
  const replaced = await run(
    `export LANG=C LC_ALL=C HEXZ_PASSPHRASE=$'caf\\xef\\xbf\\xbd'; hexz build disk.img -e -o r.st --progress none && hexz verify r.st`
  )
  t.equal(replaced.code, 0, replaced.stderr)
  const again = await openSnapshot(join(cwd, 'r.st'), { passphrase: 'caf\ufffd' })
  await again.close()
  t.equal(
    await rejected(openSnapshot(join(cwd, 'r.st'), { passphrase: 'caf\ud800' })),
    'KeyError KEY_UNUSABLE: the passphrase is not text in UTF-8',
    'half a surrogate pair'
  )
})

const seen = new Map<number, { ticks: number; count: number }>()

/** Whether a process has been started, and has waited for something for a while. */
function isAsleep(pid = 0): boolean {
  const [state, ticks] = stateOf(pid)
  if (state !== 'S' || ticks < 10) return false
  const before = seen.get(pid) ?? { ticks: -1, count: 0 }
  const count = before.ticks === ticks ? before.count + 1 : 0
  seen.set(pid, { ticks, count })
  return count > 30
}
/** State and processor time of a process, from /proc. */
function stateOf(pid: number): [string, number] {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  return [fields[0] ?? '', Number(fields[11]) + Number(fields[12])]
}

await t.test('descriptors: a line is enough, and nothing keeps a signal waiting', async (t) => {
  const { cwd, at } = await setUp(t)
  for (const [name, mode] of [
    ['blocking.pipe', constants.O_RDONLY],
    ['other.pipe', constants.O_RDONLY | constants.O_NONBLOCK]
  ] as const) {
    execFileSync('mkfifo', [at(name)])
    const both = openSync(at(name), 'r+')
    const reading = openSync(at(name), mode)
    const stop = new AbortController()
    const read = readSecret(reading, 'line', stop.signal)
    t.equal(await Promise.race([read, delay(50, 'waits')]), 'waits', name)
    writeSync(both, passphrase.slice(0, 3))
    t.equal(await Promise.race([read, delay(50, 'waits')]), 'waits', name)
    writeSync(both, `${passphrase.slice(3)}\r\nmore`) // and stays open
    t.equal(String(await read), passphrase, name)
    const stopped = readSecret(reading, 'line', stop.signal)
    stop.abort(new Error('enough'))
    t.equal(await rejected(stopped), 'Error: enough', name)
    closeSync(both)
    closeSync(reading)
  }
  execFileSync('mkfifo', [at('silent.pipe')])
  const silent = openSync(at('silent.pipe'), 'r+')
  const words = ['verify', 'e.st', '--passphrase-fd', '3']
  const stopped = startCli(words, { cwd, stdio: ['ignore', 'pipe', 'pipe', silent] })
  const stopping = finished(stopped)
  await until('hexz waits', () => isAsleep(stopped.pid))
  stopped.kill('SIGTERM')
  const { signal, stderr } = await stopping
  t.strictSame([signal, stderr], ['SIGTERM', 'hexz: stopped by SIGTERM before it was done\n'])
  const child = startCli(words, { cwd, stdio: ['ignore', 'pipe', 'pipe', silent] })
  const done = finished(child)
  writeSync(silent, `${passphrase}\nmore`) // and stays open
  t.equal((await done).code, 0)
  closeSync(silent)

  execFileSync('mkfifo', [at('nobody.pipe')])
  const waiting = startCli(['verify', 'e.st', '--passphrase-file', 'nobody.pipe'], { cwd })
  const ended = finished(waiting)
  await until('hexz waits', () => isAsleep(waiting.pid))
  waiting.kill('SIGTERM')
  t.equal((await ended).signal, 'SIGTERM', 'a named pipe that nobody writes to')
})

await t.test('what does not end is not read to its end', async (t) => {
  const { cwd, at } = await setUp(t)
  writeFileSync(at('long'), `${'x'.repeat(4097)}\n`)
  writeFileSync(at('longest'), `${'x'.repeat(4096)}\r\n${'y'.repeat(5000)}`)
  const line = (name: string): string => `the passphrase in ${name} is longer than 4096 bytes`
  const file = '/dev/zero is larger than 1048576 bytes, which no file of keys is'
  const cases: [words: string, message: string][] = [
    ['verify e.st --passphrase-file /dev/zero', line('/dev/zero')],
    ['verify e.st --passphrase-file long', line('long')],
    ['build disk.img -e --passphrase-file /dev/zero', line('/dev/zero')],
    ['key add e.st --new-passphrase-file /dev/zero', line('/dev/zero')],
    ['keygen -o n --passphrase-file /dev/zero', line('/dev/zero')],
    ['verify e.st --identity /dev/zero', file],
    ['build disk.img --recipient /dev/zero', file]
  ]
  await eachOf(cases, async ([words, message]) => {
    failsWith(t, await runCli(words.split(' '), { cwd }), { code: 8, message }, words)
  })
  const wrong = 'the passphrase is wrong: no key slot of e.st opens with it'
  const longest = await runCli(['verify', 'e.st', '--passphrase-file', 'longest'], { cwd })
  failsWith(t, longest, { code: 6, message: wrong }, 'as long as it may be')
})
