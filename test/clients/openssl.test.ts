import { execFileSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readIdentity, readRecipient } from '../../lib/crypto/keys.js'
import { unlock } from '../../lib/crypto/unlock.js'
import { openSnapshot } from '../../lib/index.js'
import { decodeKeySlot, encodeKeySlot } from '../../lib/format/key-slots.js'
import { hex } from '../helpers/bytes.js'
import { textBytes } from '../helpers/data.js'
import { caught, rejected } from '../helpers/errors.js'
import { eachOf, failsWith, runCli, scratch } from '../helpers/run-cli.js'
import { onTerminal, skipTerminal } from '../helpers/terminal.js'

const hasOpenssl = ((): boolean => {
  try {
    return execFileSync('openssl', ['version'], { stdio: 'pipe' }).length > 0
  } catch {
    return false
  }
})()

await t.test('openssl', { skip: hasOpenssl ? false : 'openssl is not installed' }, async (t) => {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  const openssl = (words: string): Buffer =>
    execFileSync('openssl', words.split(' '), { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  const disk = textBytes(50_000, 1)
  writeFileSync(at('disk.img'), disk)
  const env = { HEXZ_PASSPHRASE: 'pp-7391' }

  openssl('req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 9 -subj /CN=x')
  openssl('pkey -in k.pem -pubout -out p.pem')
  openssl('rsa -in k.pem -RSAPublicKey_out -out p1.pem')
  openssl('genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:4096 -out k4096.pem')
  openssl('pkey -in k4096.pem -pubout -out p4096.pem')

  const identities = new Map([
    ['k.pem', ''],
    ['k1.pem', 'rsa -in k.pem -traditional -out k1.pem'],
    ['k1e.pem', 'rsa -in k.pem -traditional -aes128 -passout pass:pp-7391 -out k1e.pem'],
    ['k8e.pem', 'pkey -in k.pem -aes256 -passout pass:pp-7391 -out k8e.pem'],
    ['k.p12', 'pkcs12 -export -inkey k.pem -in c.pem -out k.p12 -passout pass:pp-7391'],
    ['legacy.p12', 'pkcs12 -export -legacy -inkey k.pem -in c.pem -out legacy.p12 -passout pass:pp-7391']
  ])
  for (const [name, words] of identities) {
    try {
      if (words !== '') openssl(words)
    } catch {
      t.comment(`left out: this openssl does not make ${name}`)
      identities.delete(name)
    }
  }

  await t.test('recipients of every kind that openssl writes, and every identity', async (t) => {
    const build = ['build', '-', '--recipient', 'c.pem', '--recipient', 'p4096.pem', '--recipient', 'p1.pem']
    const built = await runCli(build, { cwd, stdin: disk })
    t.equal(built.code, 0, built.stderr)
    writeFileSync(at('r.st'), built.stdout)
    t.notOk(built.stdout.includes(disk.subarray(0, 16)))
    for (const name of [...identities.keys(), 'k4096.pem']) {
      const askPassphrase = (): Promise<Buffer> => Promise.resolve(Buffer.from(env.HEXZ_PASSPHRASE))
      const identity = await readIdentity(readFileSync(at(name)), name, askPassphrase)
      const opened = await openSnapshot(at('r.st'), { identity })
      t.ok((await opened.read('disk', 0, disk.length)).equals(disk), `${name}: the bytes are back`)
      await opened.close()
    }
    await eachOf(['k.pem', 'k8e.pem', 'k.p12'], async (name) => {
      const { code, stdout, stderr } = await runCli(['extract', 'r.st', '--identity', name], { cwd, env })
      t.equal(code, 0, `${name}: ${stderr}`)
      t.ok(stdout.equals(disk), `${name}: the bytes are back by the command line`)
    })
    const listed = await runCli(['key', 'list', 'r.st', '--json'], { cwd })
    const idOf = (name: string): string =>
      execFileSync('sh', ['-c', `openssl pkey -pubin -in ${name} -outform DER | sha256sum`], { cwd })
        .toString()
        .slice(0, 64)
    t.strictSame(
      JSON.parse(listed.stdout.toString()),
      ['p.pem', 'p4096.pem', 'p.pem'].map((name, slot) => ({
        slot,
        type: 'recipient',
        detail: `key id ${idOf(name)}`
      }))
    )
  })

  await t.test('wrong passphrases of identities: exit 6, one line', async (t) => {
    const locked = [...identities.keys()].filter((name) => name !== 'k.pem' && name !== 'k1.pem')
    await eachOf(locked, async (name) => {
      const result = await runCli(['extract', 'r.st', '--identity', name], {
        cwd,
        env: { HEXZ_PASSPHRASE: 'wrong-5512' }
      })
      const message = `the passphrase of ${name} is wrong, or the file is damaged`
      failsWith(t, result, { code: 6, message }, name)
    })
  })

  await t.test('openssl pkeyutl opens our slot, and we open its', async (t) => {
    const snapshot = readFileSync(at('r.st'))
    const slot = decodeKeySlot(snapshot.subarray(snapshot.readUInt32LE(12)).subarray(0, 640), 'slot 0')
    if (slot?.type !== 'recipient') throw new Error('slot 0 is not a recipient')
    writeFileSync(at('wrapped'), slot.wrappedKey)
    const oaep = '-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256'
    const dataKey = openssl(`pkeyutl -decrypt -inkey k.pem -in wrapped ${oaep}`)
    t.equal(dataKey.length, 32)
    writeFileSync(at('key'), dataKey)
    openssl(`pkeyutl -encrypt -pubin -inkey p.pem -in key -out wrapped2 ${oaep}`)
    t.ok(readRecipient(readFileSync(at('p.pem'), 'latin1'), 'p.pem'))
    const area = Buffer.alloc(16 * 640)
    area.set(encodeKeySlot({ ...slot, wrappedKey: readFileSync(at('wrapped2')) }))
    const identity = createPrivateKey(readFileSync(at('k.pem')))
    t.equal(hex(await unlock(area, new Uint8Array(32), { identity }, 'a.st')), hex(dataKey))
  })

  await t.test('keys that do not work: exit 6, and what works', async (t) => {
    openssl(
      'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ec.key -out ec.pem -days 9 -subj /CN=x'
    )
    openssl('pkcs12 -export -inkey ec.key -in ec.pem -out ec.p12 -passout pass:pp-7391')
    openssl('genpkey -algorithm ed25519 -out ed.key')
    openssl('req -x509 -new -key ed.key -out ed.pem -days 9 -subj /CN=x')
    openssl('pkey -in ed.key -pubout -out edp.pem')
    openssl('genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:1024 -out small.key')
    openssl('pkey -in small.key -pubout -out small.pem')
    const works = 'only RSA keys of 2048 to 4096 bits work'
    const cases: [string, string, string][] = [
      ['--recipient', 'ec.pem', `ec.pem holds a key of kind ec; ${works}`],
      ['--recipient', 'ed.pem', `ed.pem holds a key of kind ed25519; ${works}`],
      ['--recipient', 'edp.pem', `edp.pem holds a key of kind ed25519; ${works}`],
      ['--recipient', 'small.pem', 'small.pem holds an RSA key of 1024 bits; 2048 to 4096 work'],
      ['--recipient', 'disk.img', 'disk.img is neither a certificate nor a public key in PEM'],
      [
        '--recipient',
        'k.pem',
        'k.pem holds a private key; a recipient is a certificate or a public key: openssl pkey -in k.pem -pubout'
      ],
      ['--identity', 'ec.key', `ec.key holds a key of kind ec; ${works}`],
      ['--identity', 'ec.p12', `ec.p12 holds no RSA private key; ${works}`],
      ['--identity', 'ed.key', `ed.key holds a key of kind ed25519; ${works}`],
      ['--identity', 'small.key', 'small.key holds an RSA key of 1024 bits; 2048 to 4096 work'],
      ['--identity', 'c.pem', 'c.pem is not a private key in PEM or PKCS#12'],
      ['--identity', 'disk.img', 'disk.img is not a private key in PEM or PKCS#12']
    ]
    for (const [flag, name, message] of cases) {
      const bytes = readFileSync(at(name))
      const passphrase = (): Promise<Buffer> => Promise.resolve(Buffer.from('pp-7391'))
      const found =
        flag === '--recipient'
          ? caught(() => readRecipient(bytes.toString('latin1'), name))
          : await rejected(readIdentity(bytes, name, passphrase))
      t.equal(found, `KeyError KEY_UNUSABLE: ${message}`, `${flag} ${name}`)
    }
    const some = cases.filter(([, name]) => name.startsWith('ec.p'))
    await eachOf(some, async ([flag, name, message]) => {
      const words = flag === '--recipient' ? ['build', 'disk.img'] : ['extract', 'r.st']
      const result = await runCli([...words, flag, name], { cwd, env })
      failsWith(t, result, { code: 6, message }, `${flag} ${name}`)
    })
  })

  await t.test('keygen: openssl reads both files; nothing is overwritten', async (t) => {
    const made = await runCli(['keygen', '-o', 'ours', '--bits', '2048'], { cwd, env })
    t.equal(made.code, 0, made.stderr)
    t.match(
      made.stdout.toString(),
      /^ours\.key \(keep it secret\), ours\.crt \(give it away\), key id [0-9a-f]{64}\n$/
    )
    t.match(execFileSync('stat', ['-c', '%a', at('ours.key')]).toString(), '600')
    t.match(readFileSync(at('ours.key'), 'latin1'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n[^\r]+$/)
    t.match(readFileSync(at('ours.crt'), 'latin1'), /^-----BEGIN CERTIFICATE-----\n[^\r]+$/)
    const shown = openssl('x509 -in ours.crt -noout -text').toString()
    t.match(shown, /Subject: CN ?= ?ours\n/)
    t.match(shown, /Public-Key: \(2048 bit\)/)
    openssl('verify -CAfile ours.crt ours.crt')
    const asn1 = openssl('asn1parse -in ours.key').toString()
    t.match(asn1, /PBES2[^]*PBKDF2[^]*INTEGER +:0927C0\n[^]*hmacWithSHA256[^]*aes-256-cbc/, '600,000 rounds')
    const fromKey = openssl('pkey -in ours.key -passin pass:pp-7391 -pubout').toString()
    t.equal(fromKey, openssl('x509 -in ours.crt -noout -pubkey').toString(), 'they belong together')
    t.throws(() => openssl('pkey -in ours.key -passin pass:other -noout'), /maybe wrong password|bad decrypt/)

    if (skipTerminal !== false) t.comment(`left out: ${skipTerminal}`)
    else {
      const prompt = /ours\.key: ?$/
      const asked = await onTerminal(cwd, 'openssl pkey -in ours.key -noout', ['pp-7391\r'], prompt)
      t.match(asked.shown, /^Enter pass ?phrase for ours\.key:/, 'openssl asks for the passphrase')
      t.equal(asked.code, 0)
    }

    const before = readFileSync(at('ours.key'))
    for (const [missing, left] of [
      ['ours.crt', 'ours.key'],
      ['ours.key', 'ours.crt']
    ] as const) {
      renameSync(at(missing), at('kept'))
      failsWith(
        t,
        await runCli(['keygen', '-o', 'ours'], { cwd, isDetached: true }),
        { code: 4, message: `${left} exists already, and a key is never replaced; choose another name` },
        'keygen again, told before a passphrase is asked for'
      )
      t.notOk(existsSync(at(missing)))
      renameSync(at('kept'), at(missing))
    }
    t.ok(readFileSync(at('ours.key')).equals(before))
    failsWith(
      t,
      await runCli(['keygen', '-o', 'new', '--plain', '--passphrase-file', 'p'], { cwd }),
      { code: 2, message: '--plain leaves the private key unencrypted, but a passphrase is named; give one' },
      'keygen --plain with a passphrase'
    )
    const built = await runCli(['build', 'disk.img', '--recipient', 'ours.crt', '-o', 'o.st'], { cwd })
    t.equal(built.code, 0, built.stderr)
    const back = await runCli(['extract', 'o.st', '--identity', 'ours.key'], { cwd, env })
    t.ok(back.stdout.equals(disk))
  })
})
