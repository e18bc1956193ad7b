import { copyFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { isHexzError } from '../lib/errors.js'
import { decodeKeyBackup } from '../lib/format/key-backup.js'
import { addKey, backupKeys, build, listKeys, openSnapshot, removeKey, restoreKeys } from '../lib/index.js'
import { cheapScrypt, makeRsaPair } from './crypto/sealed.js'
import { textBytes } from './helpers/data.js'
import { caught, rejected } from './helpers/errors.js'
import { contentsOf, failsWith, runCli, scratch } from './helpers/run-cli.js'

const disk = textBytes(300_000, 1)
const passphrase = 'one-4711'
const env = { HEXZ_PASSPHRASE: passphrase }
const pair = makeRsaPair()

/** Two encrypted snapshots with the same header, whose slots 0 and 1 are in use, a plain one, and backups of all. */
async function setUp(t: Test): Promise<{ cwd: string; at: (name: string) => string }> {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  writeFileSync(at('disk.img'), disk)
  const locks = { passphrase, recipients: [pair.publicKey], scrypt: cheapScrypt }
  for (const name of ['k.st', 'other.st', 'plain.st']) {
    const secret = name === 'plain.st' ? {} : { locks }
    await build({ source: at('disk.img'), target: at(name), concurrency: 1, ...secret })
    await backupKeys(at(name), at(`${name}.keys`))
  }
  copyFileSync(at('k.st'), at('whole.st'))
  return { cwd, at }
}

/** Overwrites bytes of a file. */
function damage(path: string, start: number, end: number, value = 0): void {
  writeFileSync(path, readFileSync(path).fill(value, start, end))
}

const same = (one: string, other: string): boolean => readFileSync(one).equals(readFileSync(other))

/** Header and key slots. */
const headSizeOf = (path: string): number => readFileSync(path).readUInt32LE(12) + 16 * 640

await t.test('a backup is private, and replaces nothing unasked', async (t) => {
  const { cwd, at } = await setUp(t)
  const made = await runCli(['key', 'backup', 'k.st', 'new.keys'], { cwd })
  t.strictSame([made.code, made.stderr], [0, 'hexz: new.keys: header and keys of k.st\n'])
  t.equal(statSync(at('new.keys')).mode & 0o777, 0o600)
  t.ok(same(at('new.keys'), at('k.st.keys')))
  const before = contentsOf(cwd)
  failsWith(
    t,
    await runCli(['key', 'backup', 'k.st', 'other.st'], { cwd }),
    { code: 4, message: 'other.st exists already; --force replaces it' },
    'onto another file'
  )
  t.strictSame(contentsOf(cwd), before)
  await addKey(at('k.st'), { passphrase }, { passphrase: 'two', scrypt: cheapScrypt })
  writeFileSync(at('readable'), '', { mode: 0o644 })
  for (const name of ['new.keys', 'readable']) {
    await backupKeys(at('k.st'), at(name), { force: true })
    t.equal(statSync(at(name)).mode & 0o777, 0o600)
    t.equal(decodeKeyBackup(readFileSync(at(name)), name).area[2 * 640], 1, 'of the keys that it has now')
  }
})

await t.test('header and slots come back, byte for byte, and verify is content', async (t) => {
  const { cwd, at } = await setUp(t)
  for (const [start, end] of [
    [0, 4096],
    [0, 1],
    [20, 21],
    [0, 20_000]
  ] as const) {
    copyFileSync(at('whole.st'), at('k.st'))
    damage(at('k.st'), start, Math.min(end, headSizeOf(at('whole.st'))), 0x55)
    t.match((await runCli(['verify', 'k.st'], { cwd, env })).code, 5)
    const restored = await runCli(['key', 'restore', 'k.st', 'k.st.keys'], { cwd })
    t.strictSame([restored.code, restored.stderr], [0, 'hexz: k.st: put back from k.st.keys\n'])
    t.ok(same(at('k.st'), at('whole.st')), `damage from ${start} to ${end}`)
  }
  const verified = await runCli(['verify', 'k.st'], { cwd, env })
  t.match(verified.stdout.toString(), /^k\.st: intact, /)
  const again = await runCli(['key', 'restore', 'k.st', 'k.st.keys'], { cwd })
  t.strictSame(
    [again.code, again.stderr],
    [0, 'hexz: k.st: header and keys are as they are in k.st.keys; nothing had to be done\n']
  )
  copyFileSync(at('plain.st'), at('p.st'))
  damage(at('p.st'), 0, 40)
  t.equal(await restoreKeys(at('p.st'), at('plain.st.keys')), true)
  t.ok(same(at('p.st'), at('plain.st')), 'one that is not encrypted')
})

await t.test('keys that were added or removed since', async (t) => {
  const { at } = await setUp(t)
  const path = at('k.st')
  const slots = async (): Promise<string> =>
    (await listKeys(path)).map(({ slot, type }) => `${slot} ${type}`).join(', ')
  await addKey(path, { passphrase }, { passphrase: 'two', scrypt: cheapScrypt })
  await removeKey(path, 1)
  const changed = readFileSync(path)
  t.equal(
    await rejected(restoreKeys(path, at('k.st.keys'))),
    `TargetError TARGET_EXISTS: the header and the keys of ${path} are intact, but not those of the backup: keys were added or removed since; option force puts back the backup's`
  )
  t.ok(readFileSync(path).equals(changed))
  const headerSize = changed.readUInt32LE(12)
  damage(path, headerSize + 10, headerSize + 20, 1)
  t.equal(await slots(), '0 damaged, 2 passphrase')
  t.equal(await restoreKeys(path, at('k.st.keys')), true)
  t.ok(readFileSync(path).equals(changed), 'only what was damaged is put back')
  damage(path, 0, 5)
  t.equal(await restoreKeys(path, at('k.st.keys')), true)
  t.equal(await slots(), '0 passphrase, 1 recipient, 2 passphrase', 'an empty slot may be damage, too')
  t.equal(await restoreKeys(path, at('k.st.keys'), { force: true }), true)
  t.ok(same(path, at('whole.st')))
  const opened = await openSnapshot(path, { identity: pair.privateKey })
  t.ok((await opened.read('disk', 0, disk.length)).equals(disk), 'the key that was removed opens again')
  await opened.close()
})

await t.test('a backup of another snapshot is refused, though the headers are the same', async (t) => {
  const { at } = await setUp(t)
  const path = at('k.st')
  damage(path, 0, 600)
  const before = readFileSync(path)
  const isOther = (from: string): string =>
    `UsageError USAGE: ${at(from)} is a backup of another snapshot than ${path}, or the end of that is damaged`
  t.equal(
    await rejected(restoreKeys(path, at('other.st.keys'), { force: true })),
    `${isOther('other.st.keys')}; a passphrase or identity for a key in the backup can tell`
  )
  t.equal(await rejected(restoreKeys(path, at('plain.st.keys'))), isOther('plain.st.keys'))
  t.equal(
    await rejected(restoreKeys(path, at('other.st.keys'), { credentials: { passphrase } })),
    `UsageError USAGE: ${at('other.st.keys')} is a backup of another snapshot than ${path}, or both ends of that are damaged`,
    'the key opens the backup, but not the frames'
  )
  t.ok(readFileSync(path).equals(before))
})

await t.test('damaged at both ends: a key tells whether the backup is right', async (t) => {
  const { cwd, at } = await setUp(t)
  damage(at('k.st'), 0, 3000)
  truncateSync(at('k.st'), statSync(at('k.st')).size - 30_000)
  failsWith(
    t,
    await runCli(['key', 'restore', 'k.st', 'k.st.keys'], { cwd, env: { HEXZ_PASSPHRASE: 'wrong' } }),
    { code: 6, message: 'the passphrase is wrong: no key slot of k.st.keys opens with it' },
    'wrong passphrase'
  )
  const restored = await runCli(['key', 'restore', 'k.st', 'k.st.keys'], { cwd, env })
  t.strictSame([restored.code, restored.stderr], [0, 'hexz: k.st: put back from k.st.keys\n'])
  const recovered = await runCli(['recover', 'k.st', '-o', 'back.img'], { cwd, env })
  t.equal(recovered.code, 0, recovered.stderr)
  const back = readFileSync(at('back.img'))
  t.ok(back.length > 65_536 && back.equals(disk.subarray(0, back.length)))
})

await t.test('what makes no backup, and what is none', async (t) => {
  const { cwd, at } = await setUp(t)
  const backup = readFileSync(at('k.st.keys'))
  for (let at = 0; at < backup.length; at += 1) {
    const flipped = Buffer.from(backup)
    flipped[at] = (flipped[at] ?? 0) ^ 1
    try {
      decodeKeyBackup(flipped, 'x')
      t.fail(`byte ${at} can be changed`)
    } catch (error) {
      if (!isHexzError(error)) t.fail(String(error))
    }
  }
  for (const size of [0, 1, 7, 8, 119, 120, backup.length - 1])
    t.match(
      caught(() => decodeKeyBackup(backup.subarray(0, size), 'x')),
      size < 8
        ? 'CorruptError NOT_A_SNAPSHOT: x is not a key backup, or its first bytes are damaged'
        : 'CorruptError INCOMPLETE: x is incomplete: a part of the key backup is missing'
    )
  const newer = Buffer.from(backup).fill(2, 8, 9)
  t.equal(
    caught(() => decodeKeyBackup(newer, 'x')),
    'UnsupportedError NEWER_VERSION: x is a key backup of version 2, which this hexz does not know: use a newer hexz'
  )
  t.equal(
    caught(() => decodeKeyBackup(Buffer.concat([backup, Buffer.alloc(1)]), 'x')),
    'CorruptError BAD_DIGEST: x is damaged: its digest is wrong'
  )

  damage(at('k.st'), readFileSync(at('k.st')).readUInt32LE(12) + 100, headSizeOf(at('k.st')) - 15 * 640, 1)
  truncateSync(at('other.st'), 20_000)
  const before = contentsOf(cwd)
  const cases: [words: string, code: number, message: string][] = [
    ['backup k.st n.keys', 5, 'key slot 0 of k.st is damaged, which the backup would keep; remove it first'],
    ['backup none.st n.keys', 3, 'none.st does not exist'],
    ['backup k.st', 2, 'name the file that is to keep the keys'],
    ['backup whole.st none/n.keys', 4, "none/n.keys can't be written: its folder does not exist"],
    ['restore k.st none', 3, 'none does not exist'],
    ['restore k.st', 2, 'name the file that keeps the keys'],
    ['restore k.st disk.img', 5, 'disk.img is not a key backup, or its first bytes are damaged'],
    ['restore k.st k.st.keys more', 2, '"more" is one argument too many']
  ]
  for (const [words, code, message] of cases)
    failsWith(t, await runCli(['key', ...words.split(' ')], { cwd }), { code, message }, words)
  t.match(await rejected(backupKeys(at('other.st'), at('n.keys'))), /^CorruptError INCOMPLETE: /)
  t.strictSame(contentsOf(cwd), before)
})
