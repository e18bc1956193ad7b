import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, linkSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { addKey, build, listKeys, openSnapshot, removeKey } from '../lib/index.js'
import { cheapScrypt, makeRsaPair } from './crypto/sealed.js'
import { textBytes } from './helpers/data.js'
import { rejected } from './helpers/errors.js'
import { eachOf, failsWith, finished, runCli, scratch, startCli, until } from './helpers/run-cli.js'

const hasFlock = ((): boolean => {
  try {
    return execFileSync('flock', ['--version'], { stdio: 'pipe' }).length > 0
  } catch {
    return false
  }
})()

const disk = textBytes(20_000, 1)
const [first, second] = ['one-4711', 'two-0815']
const pair = makeRsaPair(2048)
const slotNumbers = async (path: string): Promise<number[]> => (await listKeys(path)).map(({ slot }) => slot)

/** A snapshot that opens with the first passphrase (slot 0) and with a key (slot 1). */
async function setUp(t: Test): Promise<{ cwd: string; at: (name: string) => string }> {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  const locks = { passphrase: first, recipients: [pair.publicKey], scrypt: cheapScrypt }
  for (const name of ['k.st', 'other.st'])
    await build({ source: iterableOf(disk), target: at(name), concurrency: 1, locks })
  return { cwd, at }
}

async function* iterableOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(bytes)
}

async function opens(path: string, passphrase: string): Promise<boolean> {
  const snapshot = await openSnapshot(path, { passphrase })
  try {
    return (await snapshot.read('disk', 0, disk.length)).equals(disk)
  } finally {
    await snapshot.close()
  }
}

await t.test('keys of a snapshot', { skip: hasFlock ? false : 'flock is not installed' }, async (t) => {
  await t.test('added and removed by the library', async (t) => {
    const { at } = await setUp(t)
    const path = at('k.st')
    t.equal(await addKey(path, { passphrase: first }, { passphrase: second, scrypt: cheapScrypt }), 2)
    t.ok(await opens(path, second))
    const stranger = makeRsaPair(2048)
    t.equal(await addKey(path, { identity: pair.privateKey }, { recipient: stranger.publicKey }), 3)
    const [, , added, last] = await listKeys(path)
    t.strictSame(added, { slot: 2, type: 'passphrase', isUsable: true, cost: cheapScrypt })
    t.match(last, { slot: 3, type: 'recipient', isUsable: true, keyId: /^[0-9a-f]{64}$/ })
    await removeKey(path, 0)
    t.strictSame(await slotNumbers(path), [1, 2, 3])
    t.equal(
      await rejected(removeKey(path, 0)),
      `UsageError USAGE: slot 0 of ${path} is empty; in use are 1, 2, 3`
    )
    for (const slot of [16, -1, 1.5])
      t.equal(
        await rejected(removeKey(path, slot)),
        `UsageError USAGE: slot ${slot} is not a whole number from 0 to 15`
      )
    t.match(await rejected(addKey(path, { passphrase: first }, { passphrase: 'x' })), /^KeyError KEY_WRONG: /)
    // 2^24 by itself is in bounds, but not beside the other.
    await addKey(path, { identity: pair.privateKey }, { passphrase: first, scrypt: cheapScrypt })
    const dear = { passphrase: 'x', scrypt: { logN: 17, r: 8, p: 16 } }
    t.equal(
      await rejected(addKey(path, { passphrase: first }, dear)),
      `LimitError LIMIT: the passphrases of ${path} would together ask for more work than a reader takes on; remove one, or make it cheaper`
    )
    t.equal(
      await rejected(addKey(path, { passphrase: first }, { ...dear, scrypt: { logN: 9, r: 8, p: 1 } })),
      'LimitError LIMIT: scrypt N = 2^9, r = 8, p = 1 is out of bounds'
    )
    t.equal(
      await rejected(listKeys(at('none.st'))),
      `SourceError SOURCE_MISSING: ${at('none.st')} does not exist`
    )
  })

  await t.test('two that remove at once: the last key stays', async (t) => {
    const { cwd, at } = await setUp(t)
    for (let round = 0; round < 15; round++) {
      copyFileSync(at('other.st'), at('k.st'))
      const results = await Promise.allSettled([removeKey(at('k.st'), 0), removeKey(at('k.st'), 1)])
      const [left = -1] = await slotNumbers(at('k.st'))
      t.equal(results[1 - left]?.status, 'fulfilled')
      t.match(results[left], {
        reason: {
          code: 'KEY_MISSING',
          message: `slot ${left} holds the last key of ${at('k.st')}; without it nobody could open the snapshot, so it stays`
        }
      })
    }
    copyFileSync(at('other.st'), at('k.st'))
    const remove = (slot: string): ReturnType<typeof runCli> =>
      runCli(['key', 'remove', 'k.st', slot], { cwd })
    const results = await Promise.all(['0', '1'].map(remove))
    t.strictSame(results.map(({ code }) => code).toSorted(), [0, 6])
    t.equal((await slotNumbers(at('k.st'))).length, 1)
  })

  await t.test('many that add at once: no key is lost', async (t) => {
    const { cwd, at } = await setUp(t)
    const path = at('k.st')
    const names = Array.from({ length: 10 }, (_, i) => `key ${i}`)
    const add = (passphrase: string): Promise<number> =>
      addKey(path, { passphrase: first }, { passphrase, scrypt: cheapScrypt })
    const numbers = await Promise.all(names.map(add))
    t.strictSame(
      numbers.toSorted((a, b) => a - b),
      [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    )
    for (const name of names) t.ok(await opens(path, name), name)

    await eachOf(['three', 'four'], async (name) => {
      const env = { HEXZ_PASSPHRASE: first, HEXZ_NEW_PASSPHRASE: name }
      t.equal((await runCli(['key', 'add', 'k.st'], { cwd, env })).code, 0)
    })
    for (const name of ['three', 'four']) t.ok(await opens(path, name), name)

    // Two that remain for three: one is told, and no slot is written over.
    const more = await Promise.allSettled(['x', 'y', 'z'].map(add))
    t.strictSame(more.map(({ status }) => status).toSorted(), ['fulfilled', 'fulfilled', 'rejected'])
    t.match(
      more.find(({ status }) => status === 'rejected'),
      { reason: { code: 'LIMIT', message: `all 16 key slots of ${path} are taken; remove one first` } }
    )
  })

  await t.test('the file is replaced while a key is derived: neither gets the key', async (t) => {
    const { at } = await setUp(t)
    const path = at('k.st')
    linkSync(path, at('opened.st'))
    const [opened, put] = ['k.st', 'other.st'].map((name) => readFileSync(at(name)))
    const replaced = addKey(path, { passphrase: first }, () => {
      renameSync(at('other.st'), path)
      return Promise.resolve({ passphrase: second, scrypt: cheapScrypt })
    })
    t.equal(
      await rejected(replaced),
      `SourceError SOURCE_CHANGED: ${path} was replaced by another file, or removed, in the meantime; nothing was changed`
    )
    t.ok(opened && readFileSync(at('opened.st')).equals(opened))
    t.ok(put && readFileSync(path).equals(put))
  })

  await t.test('who is shut out while he adds a key adds none', async (t) => {
    const { at } = await setUp(t)
    const path = at('k.st')
    const shutOut = addKey(path, { passphrase: first }, async () => {
      await removeKey(path, 0)
      return { passphrase: second, scrypt: cheapScrypt }
    })
    t.equal(
      await rejected(shutOut),
      `SourceError SOURCE_CHANGED: the key in slot 0 of ${path} was removed or changed by another program in the meantime; nothing was added`
    )
    t.strictSame(await slotNumbers(path), [1])
  })

  await t.test('killed at any moment: a key opens, nothing is left, the next one goes on', async (t) => {
    const { cwd, at } = await setUp(t)
    const env = { HEXZ_PASSPHRASE: first, HEXZ_NEW_PASSPHRASE: second }
    for (let round = 0; round < 8; round++) {
      const isAdding = (await slotNumbers(at('k.st'))).length < 16
      const words = isAdding ? ['add', 'k.st'] : ['remove', 'k.st', '1']
      const child = startCli(['key', ...words], { cwd, env })
      const done = finished(child)
      await new Promise((resolve) => setTimeout(resolve, 150 + Math.random() * 700))
      child.kill('SIGKILL')
      await done
      t.ok(await opens(at('k.st'), first))
      t.strictSame(
        (await listKeys(at('k.st'))).filter(({ isUsable }) => !isUsable),
        []
      )
    }
    t.equal((await runCli(['key', 'remove', 'k.st', '1'], { cwd })).code, 0)
    t.strictSame(readdirSync(cwd).toSorted(), ['k.st', 'other.st'])
  })

  await t.test('another program holds the lock: waits for it, and a signal ends the wait', async (t) => {
    const { cwd, at } = await setUp(t)
    const holder = spawn('flock', ['-x', at('k.st'), 'sh', '-c', 'echo locked; read line'], { stdio: 'pipe' })
    await new Promise((resolve) => holder.stdout.once('data', resolve))
    const ended = startCli(['key', 'remove', 'k.st', '0'], { cwd })
    const result = finished(ended)
    await until('hexz waits', () => isWaiting(ended.pid))
    ended.kill('SIGTERM')
    const { signal, stderr } = await result
    t.strictSame([signal, stderr], ['SIGTERM', 'hexz: stopped by SIGTERM before it was done\n'])
    t.equal(
      await rejected(removeKey(at('k.st'), 0, { signal: AbortSignal.abort(new Error('enough')) })),
      'Error: enough'
    )
    t.strictSame(await slotNumbers(at('k.st')), [0, 1])

    const waiting = startCli(['key', 'remove', 'k.st', '0'], { cwd })
    const after = finished(waiting)
    await until('hexz waits', () => isWaiting(waiting.pid))
    holder.stdin.end('\n')
    t.equal((await after).code, 0)
    t.strictSame(await slotNumbers(at('k.st')), [1])
  })
})

/** Whether the process has a child, which is the one that waits for the lock. */
function isWaiting(pid = 0): boolean {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim() !== ''
}

await t.test('without the program flock', async (t) => {
  const { cwd, at } = await setUp(t)
  const before = readFileSync(at('k.st'))
  const result = await runCli(['key', 'remove', 'k.st', '0'], { cwd, env: { PATH: cwd } })
  const message =
    'changing keys needs the program flock, so that no two programs do it at once: install util-linux or busybox'
  failsWith(t, result, { code: 7, message }, 'remove')
  t.ok(readFileSync(at('k.st')).equals(before))
})
