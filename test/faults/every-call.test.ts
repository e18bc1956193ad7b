import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { build } from '../../lib/index.js'
import { cheapScrypt } from '../crypto/sealed.js'
import { mixedBytes, zeroBytes } from '../helpers/data.js'
import { failsAsProcess, failsEverywhere, makeFaults, noFaults, tellCounts } from '../helpers/every-call.js'
import type { FaultCase } from '../helpers/faults.js'
import { runCli } from '../helpers/run-cli.js'

const disk = Buffer.concat([mixedBytes(70_000, 1), zeroBytes(30_000)])
/** Differs from it in three places. */
const other = Buffer.concat([mixedBytes(20_000, 2), disk.subarray(20_000, 65_000)])
const flags = ['--concurrency', '1', '--progress', 'none']
const faults = makeFaults(t)

async function test(
  name: string,
  work: (t: Test, use: NonNullable<typeof faults>) => Promise<void>
): Promise<void> {
  await t.test(name, { skip: faults === undefined ? noFaults : false }, async (t) => {
    if (faults !== undefined) await work(t, faults)
  })
}

/** A snapshot of `disk`. */
async function snapshotBytes(path: string, options = {}): Promise<Buffer> {
  await build({ source: Readable.from([disk]), target: path, concurrency: 1, ...options })
  return readFileSync(path)
}

await test('every call of a build fails once', async (t, use) => {
  const target = 'new.st'
  await failsEverywhere(
    t,
    {
      name: 'build',
      args: ['build', 'disk.img', '-o', target, ...flags],
      files: { 'disk.img': disk },
      target
    },
    use
  )
  const old = { [target]: Buffer.from('what was there before') }
  const args = ['build', '-', '-o', target, '--force', ...flags]
  await failsAsProcess(t, { name: 'build of a pipe, --force', args, files: old, stdin: disk, target }, use)
})

await test('every call of an extract and of a recover fails once', async (t, use) => {
  const snapshot = await snapshotBytes(join(use.folder, 'a.st'))
  const target = 'new.img'
  const files = { 'a.st': snapshot }
  const cases: readonly Omit<FaultCase, 'target' | 'result'>[] = [
    { name: 'extract', args: ['extract', 'a.st', '-o', target, ...flags], files },
    {
      name: 'extract --in-place',
      args: ['extract', 'a.st', '-o', target, '--in-place', ...flags],
      files: { ...files, [target]: other },
      inPlace: true
    },
    { name: 'recover', args: ['recover', 'a.st', '-o', target, '--progress', 'none'], files }
  ]
  for (const one of cases) await failsEverywhere(t, { ...one, target, result: disk }, use)
  const old = { [target]: Buffer.from('what was there before') }
  const args = ['extract', '-', '-o', target, '--force', ...flags]
  const piped = { name: 'extract of a pipe, --force', args, files: old, stdin: snapshot, target }
  await failsAsProcess(t, { ...piped, result: disk }, use)
})

await test('every call of a change of keys fails once', async (t, use) => {
  const at = (name: string): string => join(use.folder, name)
  const words = `req -x509 -newkey rsa:2048 -nodes -subj /CN=x -days 9 -keyout ${at('k.key')} -out ${at('k.crt')}`
  if (spawnSync('openssl', words.split(' ')).status !== 0) {
    t.pass('not run', { skip: 'needs openssl' })
    return
  }
  writeFileSync(at('pass'), 'secret')
  const before = await snapshotBytes(at('e.st'), { locks: { passphrase: 'secret', scrypt: cheapScrypt } })
  const credentials = ['--passphrase-file', at('pass')]
  const added = await runCli(['key', 'add', at('e.st'), ...credentials, '--recipient', at('k.crt')])
  t.equal(added.code, 0)
  const removal: FaultCase = {
    name: 'key remove',
    args: ['key', 'remove', 'new.st', '1'],
    files: { 'new.st': readFileSync(at('e.st')) },
    target: 'new.st',
    result: before,
    inPlace: true
  }
  await failsEverywhere(t, removal, use)
  await failsAsProcess(t, removal, use)
  const files = { 'e.st': before }
  const backup = {
    name: 'key backup',
    args: ['key', 'backup', 'e.st', 'new.keys'],
    files,
    target: 'new.keys'
  }
  await failsEverywhere(t, backup, use)
})

tellCounts(t)
