import { createPrivateKey } from 'node:crypto'
import { closeSync, copyFileSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import t, { type Test } from 'tap'
import { parseArguments } from '../../lib/commands/parse-arguments.js'
import { key } from '../../lib/commands/key.js'
import { makeKeyPair } from '../../lib/crypto/keys.js'
import { isHexzError } from '../../lib/errors.js'
import { build, openSnapshot } from '../../lib/index.js'
import { cheapScrypt } from '../crypto/sealed.js'
import { randomBytes, textBytes } from '../helpers/data.js'
import { contentsOf, eachOf, failsWith, finished, runCli, scratch, startCli } from '../helpers/run-cli.js'

const disk = textBytes(20_000, 1)
const passphrase = 'secret-4711'
const env = { HEXZ_PASSPHRASE: passphrase }
const pairs = {
  a: await makeKeyPair(2048, 'a', 9, undefined),
  b: await makeKeyPair(2048, 'b', 9, undefined)
}
const recipients = [pairs.a.publicKey]

/** A folder with keys and a snapshot, whose slot 0 has the passphrase and slot 1 the first of the keys. */
async function setUp(t: Test): Promise<{ cwd: string; at: (name: string) => string }> {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  writeFileSync(at('disk.img'), disk)
  for (const [name, pair] of Object.entries(pairs)) {
    writeFileSync(at(`${name}.key`), pair.privateKey)
    writeFileSync(at(`${name}.crt`), pair.certificate)
  }
  const locks = { passphrase, recipients, scrypt: cheapScrypt }
  await build({ source: at('disk.img'), target: at('k.st'), concurrency: 1, locks })
  return { cwd, at }
}

const areaStart = (snapshot: Buffer): number => snapshot.readUInt32LE(12)

/** Numbers of the slots that differ; fails when anything else does. */
function changedSlots(t: Test, before: Buffer, after: Buffer): number[] {
  t.equal(after.length, before.length)
  const places = [...after.keys()].filter((i) => after[i] !== before[i])
  return [...new Set(places.map((i) => Math.floor((i - areaStart(before)) / 640)))]
}

/** A snapshot with a slot of its own making: `bytes` where the slot lies, its checksum made right. */
function putSlot(path: string, number: number, change: (slot: Buffer) => void): void {
  const snapshot = readFileSync(path)
  const slot = snapshot.subarray(areaStart(snapshot) + number * 640).subarray(0, 640)
  change(slot)
  slot.writeUInt32LE(crc32(slot.subarray(0, 636)), 636)
  writeFileSync(path, snapshot)
}

/** What the command says against these words, run in this process, which is faster: exit code and message. */
async function refusal(
  cwd: string,
  words: readonly string[],
  env: Record<string, string> = {}
): Promise<string> {
  const [home, before] = [process.cwd(), process.env]
  process.chdir(cwd)
  process.env = { ...before, ...env }
  try {
    await key.run(parseArguments(key, words), { signal: new AbortController().signal })
    return 'nothing was thrown'
  } catch (error) {
    return isHexzError(error) ? `${error.exitCode}: ${error.message}` : String(error)
  } finally {
    process.chdir(home)
    process.env = before
  }
}

await t.test('add and remove a recipient: only the slot changes', async (t) => {
  const { cwd, at } = await setUp(t)
  const before = readFileSync(at('k.st'))
  const opens = async (key: string): Promise<string> => {
    try {
      const opened = await openSnapshot(at('k.st'), { identity: createPrivateKey(key) })
      const isRight = (await opened.read('disk', 0, disk.length)).equals(disk)
      await opened.close()
      return isRight ? 'opens' : 'opens as something else'
    } catch (error) {
      return (error as Error).message.replace(/ no key slot of .*/, '')
    }
  }
  t.equal(await opens(pairs.b.privateKey), 'the identity is wrong:')
  const added = await runCli(['key', 'add', 'k.st', '--recipient', 'b.crt', '--identity', 'a.key'], { cwd })
  t.strictSame([added.code, added.stderr], [0, 'hexz: k.st: key added in slot 2\n'])
  t.strictSame(changedSlots(t, before, readFileSync(at('k.st'))), [2])
  t.strictSame([await opens(pairs.a.privateKey), await opens(pairs.b.privateKey)], ['opens', 'opens'])

  const removed = await runCli(['key', 'remove', 'k.st', '1'], { cwd })
  t.strictSame([removed.code, removed.stderr], [0, 'hexz: k.st: key removed from slot 1\n'])
  t.strictSame(changedSlots(t, before, readFileSync(at('k.st'))), [1, 2])
  t.strictSame(
    [await opens(pairs.a.privateKey), await opens(pairs.b.privateKey)],
    ['the identity is wrong:', 'opens']
  )
  const again = await runCli(['key', 'remove', 'k.st', '0'], { cwd })
  t.equal(again.code, 0, again.stderr)
  failsWith(
    t,
    await runCli(['key', 'remove', 'k.st', '2'], { cwd }),
    {
      code: 6,
      message: 'slot 2 holds the last key of k.st; without it nobody could open the snapshot, so it stays'
    },
    'the last'
  )
  const { stdout } = await runCli(['key', 'list', 'k.st'], { cwd })
  t.match(stdout.toString(), /^ 2 {2}recipient {3}key id [0-9a-f]{64}\n$/)
})

await t.test('add a passphrase from a file, a descriptor, the environment', async (t) => {
  const { cwd, at } = await setUp(t)
  writeFileSync(at('new'), 'pa\u0308ss-1\r\nsecond line\n')
  writeFileSync(at('bytes'), randomBytes(32, 1))
  const ways: [name: string, words: string[], env: Record<string, string>, opensWith: string][] = [
    ['f.st', ['--new-passphrase-file', 'new'], { HEXZ_NEW_PASSPHRASE: 'not this' }, 'p\u00e4ss-1'],
    ['d.st', ['--new-passphrase-fd', '3'], { HEXZ_NEW_PASSPHRASE: 'not this' }, 'p\u00e4ss-1'],
    ['v.st', [], { HEXZ_NEW_PASSPHRASE: 'pass-2' }, 'pass-2']
  ]
  await eachOf(ways, async ([name, words, more, opensWith]) => {
    copyFileSync(at('k.st'), at(name))
    const fd = openSync(at('new'), 'r')
    const child = startCli(['key', 'add', name, ...words], {
      cwd,
      env: { ...env, ...more },
      stdio: ['ignore', 'pipe', 'pipe', fd]
    })
    const { code, stdout, stderr } = await finished(child)
    closeSync(fd)
    t.strictSame([code, stdout.toString(), stderr], [0, '', `hexz: ${name}: key added in slot 2\n`])
    t.strictSame(changedSlots(t, readFileSync(at('k.st')), readFileSync(at(name))), [2])
    const opened = await openSnapshot(at(name), { passphrase: opensWith })
    t.ok((await opened.read('disk', 0, disk.length)).equals(disk), name)
    await opened.close()
  })

  const before = contentsOf(cwd)
  const empty = 'the passphrase is empty; give one of at least one character'
  const mistakes: [words: string[], env: Record<string, string>, code: number, message: string][] = [
    [
      ['--new-passphrase-file', 'new', '--new-passphrase-fd', '3'],
      env,
      2,
      '--new-passphrase-file and --new-passphrase-fd both name a passphrase; give one'
    ],
    [
      ['--passphrase-file', 'new', '--passphrase-fd', '3', '--new-passphrase-file', 'new'],
      {},
      2,
      '--passphrase-file and --passphrase-fd both name a passphrase; give one'
    ],
    [['--new-passphrase-fd', 'x'], env, 2, '--new-passphrase-fd x is not a whole number from 0 to 1023'],
    [
      ['--recipient', 'b.crt', '--new-passphrase-file', 'new'],
      env,
      2,
      '--recipient and --new-passphrase both name the new key; add one key at a time'
    ],
    [['--new-passphrase-file', 'none'], env, 3, 'none does not exist'],
    [['--new-passphrase-file', 'bytes'], env, 6, 'the passphrase in bytes is not text in UTF-8'],
    [[], { ...env, HEXZ_NEW_PASSPHRASE: '' }, 6, empty],
    [
      [],
      { HEXZ_PASSPHRASE: 'wrong', HEXZ_NEW_PASSPHRASE: 'x' },
      6,
      'the passphrase is wrong: no key slot of k.st opens with it'
    ]
  ]
  for (const [words, given, code, message] of mistakes)
    t.equal(await refusal(cwd, ['add', 'k.st', ...words], given), `${code}: ${message}`)
  t.strictSame(contentsOf(cwd), before, 'nothing was changed')
})

await t.test('slots that this version cannot use: list, remove, and what recover says', async (t) => {
  const { cwd, at } = await setUp(t)
  putSlot(at('k.st'), 3, (slot) => slot.fill(7))
  putSlot(at('k.st'), 4, (slot) => slot.set([1, 0, 0, 0, 1, 63, 8, 1]))
  const damaged = readFileSync(at('k.st'))
  damaged.fill(1, areaStart(damaged) + 5 * 640, areaStart(damaged) + 5 * 640 + 10)
  writeFileSync(at('k.st'), damaged)
  const listed = await runCli(['key', 'list', 'k.st', '--json'], { cwd })
  const rows = JSON.parse(listed.stdout.toString()) as { slot: number; type: string; detail: string }[]
  const keyId = rows[1]?.detail.replace('key id ', '') ?? ''
  t.strictSame(rows, [
    { slot: 0, type: 'passphrase', detail: 'scrypt N = 2^10, r = 1, p = 1' },
    { slot: 1, type: 'recipient', detail: `key id ${keyId}` },
    { slot: 3, type: 'unknown', detail: 'kind 7.7, which this hexz does not know' },
    { slot: 4, type: 'passphrase', detail: 'scrypt N = 2^63, r = 8, p = 1, which is out of bounds' },
    { slot: 5, type: 'damaged', detail: 'its checksum is wrong' }
  ])
  const text = (await runCli(['key', 'list', 'k.st'], { cwd })).stdout.toString()
  t.equal(text, rows.map(({ slot, type, detail }) => ` ${slot}  ${type.padEnd(10)}  ${detail}\n`).join(''))

  const inTheWay =
    'no key slot of k.st opens with this passphrase; slot 3 is of a kind (7.7) that this hexz does not know: use a newer hexz; slot 4 asks for scrypt N = 2^63, r = 8, p = 1, which is out of bounds; slot 5 is damaged: its checksum is wrong'
  const wrong = { HEXZ_PASSPHRASE: 'wrong' }
  for (const words of [
    ['verify', 'k.st'],
    ['recover', 'k.st', '-o', 'back.img']
  ])
    failsWith(t, await runCli(words, { cwd, env: wrong }), { code: 5, message: inTheWay }, words[0] ?? '')
  const recovered = await runCli(['recover', 'k.st', '-o', 'back.img'], { cwd, env })
  t.equal(recovered.code, 0, recovered.stderr)
  t.ok(readFileSync(at('back.img')).equals(disk), 'an intact slot is enough')

  for (const number of ['0', '5']) t.equal((await runCli(['key', 'remove', 'k.st', number], { cwd })).code, 0)
  failsWith(
    t,
    await runCli(['key', 'remove', 'k.st', '1'], { cwd }),
    {
      code: 6,
      message: 'slot 1 holds the last key of k.st; without it nobody could open the snapshot, so it stays'
    },
    'slots that cannot be used are no keys'
  )

  // All slots lost: recover says so, and makes no target.
  const lost = readFileSync(at('k.st'))
  lost.fill(1, areaStart(lost), areaStart(lost) + 2 * 640)
  writeFileSync(at('lost.st'), lost.fill(0, areaStart(lost) + 2 * 640, areaStart(lost) + 16 * 640))
  const message =
    'no key slot of lost.st opens with this passphrase; slot 0 is damaged: its checksum is wrong; slot 1 is damaged: its checksum is wrong'
  const before = contentsOf(cwd)
  failsWith(
    t,
    await runCli(['recover', 'lost.st', '-o', 'lost.img'], { cwd, env }),
    { code: 5, message },
    'recover without a slot'
  )
  t.strictSame(contentsOf(cwd), before, 'no target, whole or partial')
})

await t.test('what hexz key works on', async (t) => {
  const { cwd, at } = await setUp(t)
  await build({ source: at('disk.img'), target: at('plain.st'), concurrency: 1 })
  const file = (name: string): string =>
    `hexz key works on a snapshot in a regular file, which ${name} is not; name such a file`
  const unused = (action: string, flag: string): string =>
    `hexz key ${action} makes no use of ${flag}; see hexz key --help`
  const cases: [words: string, code: number, message: string][] = [
    ['list -', 2, file('standard input')],
    ['add - --recipient b.crt', 2, file('standard input')],
    ['remove - 0', 2, file('standard input')],
    ['list /dev/null', 2, file('/dev/null')],
    ['list none.st', 3, 'none.st does not exist'],
    ['list .', 3, '. is a directory, not a snapshot'],
    ['list plain.st', 2, 'plain.st is not encrypted, so it has no keys'],
    ['list k.st --passphrase-file none', 2, unused('list', '--passphrase-file')],
    ['list k.st --recipient a.crt', 2, unused('list', '--recipient')],
    ['remove k.st 0 --identity a.key', 2, unused('remove', '--identity')],
    ['backup k.st k.keys --json', 2, unused('backup', '--json')],
    ['add k.st --force', 2, unused('add', '--force')],
    ['remove k.st 16', 2, 'slot 16 is not a whole number from 0 to 15'],
    ['remove k.st 5', 2, 'slot 5 of k.st is empty; in use are 0, 1']
  ]
  for (const [words, code, message] of cases)
    t.equal(await refusal(cwd, words.split(' ')), `${code}: ${message}`, words)
  failsWith(
    t,
    await runCli(['key', 'list', '-'], { cwd, stdin: readFileSync(at('k.st')) }),
    { code: 2, message: file('standard input') },
    'list -'
  )
})
