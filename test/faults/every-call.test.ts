import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { build } from '../../lib/index.js'
import { cheapScrypt } from '../crypto/sealed.js'
import { mixedBytes, zeroBytes } from '../helpers/data.js'
import { failsEverywhere, makeFaults, noFaults, tellCounts } from '../helpers/every-call.js'
import { runCli } from '../helpers/run-cli.js'

const disk = Buffer.concat([mixedBytes(70_000, 1), zeroBytes(30_000)])
const flags = ['--concurrency', '1', '--progress', 'none']

await t.test('every call of a build fails once', async (t) => {
  const faults = makeFaults(t)
  if (faults === undefined) {
    t.pass('not run', { skip: noFaults })
    return
  }
  await failsEverywhere(
    t,
    {
      name: 'build',
      args: ['build', 'disk.img', '-o', 'new.st', ...flags],
      files: { 'disk.img': disk },
      target: 'new.st'
    },
    faults
  )
  await failsEverywhere(
    t,
    {
      name: 'build of a pipe, --force',
      sparedCall: 'stat',
      args: ['build', '-', '-o', 'new.st', '--force', ...flags],
      files: { 'new.st': Buffer.from('what was there before') },
      stdin: disk,
      target: 'new.st'
    },
    faults
  )
  tellCounts(t)
})

await t.test('every call of a change of keys fails once', async (t) => {
  const faults = makeFaults(t)
  if (faults === undefined) {
    t.pass('not run', { skip: noFaults })
    return
  }
  const at = (name: string): string => join(faults.folder, name)
  const words = `req -x509 -newkey rsa:2048 -nodes -subj /CN=x -days 9 -keyout ${at('k.key')} -out ${at('k.crt')}`
  if (spawnSync('openssl', words.split(' ')).status !== 0) {
    t.pass('not run', { skip: 'needs openssl' })
    return
  }
  writeFileSync(at('disk.img'), disk)
  writeFileSync(at('pass'), 'secret')
  const locks = { passphrase: 'secret', scrypt: cheapScrypt }
  await build({ source: at('disk.img'), target: at('e.st'), concurrency: 1, locks })
  const before = readFileSync(at('e.st'))
  const credentials = ['--passphrase-file', at('pass')]
  const added = await runCli(['key', 'add', at('e.st'), ...credentials, '--recipient', at('k.crt')])
  t.equal(added.code, 0)
  await failsEverywhere(
    t,
    {
      name: 'key remove',
      args: ['key', 'remove', 'new.st', '1'],
      files: { 'new.st': readFileSync(at('e.st')) },
      target: 'new.st',
      result: before,
      inPlace: true
    },
    faults
  )
  tellCounts(t)
})
