import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { build, extract, openFileBytes } from '../lib/index.js'
import { cheapScrypt } from './crypto/sealed.js'
import { collector } from './helpers/build.js'
import { mixedBytes, zeroBytes } from './helpers/data.js'
import { rejected } from './helpers/errors.js'
import { contentsOf, scratch } from './helpers/run-cli.js'

const disk = Buffer.concat([mixedBytes(3_000_000, 1), zeroBytes(2_000_000), mixedBytes(500_000, 2)])
const ram = mixedBytes(100_000, 3)

await t.test('extract: what the command can, from the library', async (t) => {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  writeFileSync(at('disk.img'), disk)
  writeFileSync(at('ram.bin'), ram)
  const locks = { passphrase: 'open sesame', scrypt: cheapScrypt }
  await build({ source: at('disk.img'), memory: at('ram.bin'), target: at('a.st'), locks })
  const common = { snapshot: at('a.st'), passphrase: 'open sesame' }

  const seen: number[] = []
  const whole = await extract({ ...common, target: at('whole'), onProgress: (size) => seen.push(size) })
  t.strictSame(whole, { stream: 'disk', start: 0, size: disk.length })
  t.ok(readFileSync(at('whole')).equals(disk))
  t.ok(statSync(at('whole')).blocks * 512 < disk.length - 1_500_000, 'a hole stays one')
  t.equal(seen.at(-1), disk.length)

  const { stream, bytes } = collector()
  const range = { start: 2_900_000, end: 5_100_000 }
  const source = await openFileBytes(at('a.st'))
  const part = await extract({ ...common, snapshot: source, target: stream, ...range })
  t.strictSame(part, { stream: 'disk', start: 2_900_000, size: 2_200_000 })
  t.ok(bytes().equals(disk.subarray(2_900_000, 5_100_000)), 'a range, from bytes to a stream')

  await extract({ ...common, target: at('ram.back'), stream: 'memory', concurrency: 0 })
  t.ok(readFileSync(at('ram.back')).equals(ram))

  const other = Buffer.from(disk)
  other.fill(7, 100_000, 101_000)
  writeFileSync(at('place'), other)
  const { writtenSize } = await extract({ ...common, target: at('place'), inPlace: true })
  t.ok(readFileSync(at('place')).equals(disk))
  t.equal(writtenSize, 4096, 'in place only what differs is written')

  const before = contentsOf(cwd)
  const told = async (options: object): Promise<string> =>
    rejected(extract({ ...common, ...options } as never))
  t.match(await told({ target: at('whole') }), /^TargetError TARGET_EXISTS: .*whole .*option force/)
  t.match(await told({ target: at('a.st'), force: true }), /^TargetError TARGET_IS_SOURCE: /)
  t.match(
    await told({ target: at('x'), stream: 'swap' }),
    /^UsageError USAGE: .* has no stream "swap"; it has disk, memory$/
  )
  t.match(await told({ target: at('x'), end: disk.length + 1 }), /^UsageError USAGE: a range can't end at/)
  t.match(await told({ target: at('x'), passphrase: 'wrong' }), /^KeyError KEY_WRONG: /)
  t.match(
    await told({ target: at('x'), encrypt: true }),
    /^UsageError USAGE: extract\(\) has no option "encrypt"/
  )
  t.match(await told({}), /^UsageError USAGE: extract\(\) needs a target/)
  t.match(
    await told({ target: stream, inPlace: true }),
    /^UsageError USAGE: what is changed in place is named by a path$/
  )
  t.match(await told({ target: at('x'), signal: AbortSignal.abort() }), /aborted/)
  const given = collector()
  t.match(await told({ target: given.stream, passphrase: 'wrong' }), /^KeyError KEY_WRONG: /)
  t.equal(given.stream.destroyed, true, 'a stream that gets nothing is not left open')
  const broken = collector()
  const failing = told({ target: broken.stream })
  broken.stream.destroy(new Error('the far side is gone'))
  t.match(
    await failing,
    /^TargetError \w+: .*the far side is gone/,
    'nor does it end the process when it breaks early'
  )
  t.strictSame(contentsOf(cwd), before, 'no target, and all as it was')
})
