import { execFileSync } from 'node:child_process'
import { createPublicKey, X509Certificate, type KeyObject } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { makeKeyPair, readIdentity, readRecipient } from '../../lib/crypto/keys.js'
import { build } from '../../lib/index.js'
import { caught, rejected } from '../helpers/errors.js'
import { contentsOf, failsWith, runCli, runShell, scratch } from '../helpers/run-cli.js'

const hasOpenssl = ((): boolean => {
  try {
    return execFileSync('openssl', ['version'], { stdio: 'pipe' }).length > 0
  } catch {
    return false
  }
})()

/** Names and passphrases that are more than ASCII, in one byte of Latin-1 or not. */
const texts = ['Zo\u00eb', '\u6771\u4eac', 'my_key', '\u{1f511} a+b, c="d"']

await t.test('openssl', { skip: hasOpenssl ? false : 'openssl is not installed' }, async (t) => {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  const openssl = (...words: readonly string[]): Buffer =>
    execFileSync('openssl', words, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  openssl(...'req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 9 -subj /CN=x'.split(' '))
  const publicKey = createPublicKey(readFileSync(at('k.pem')))
  const isRight = (key: KeyObject): boolean =>
    key.equals(publicKey) || (key.type === 'private' && createPublicKey(key).equals(publicKey))
  const identity = (name: string, passphrase: Buffer | string): Promise<KeyObject> =>
    readIdentity(readFileSync(at(name)), name, () => Promise.resolve(Buffer.from(passphrase)))
  const wrong = (name: string): string =>
    `KeyError KEY_WRONG: the passphrase of ${name} is wrong, or the file is damaged`

  await t.test('the subject of our certificates is text, as openssl and Node read it', async (t) => {
    for (const subject of [...texts, 'x'.repeat(64), '\u6771'.repeat(64)]) {
      const pair = await makeKeyPair(2048, subject, 9, undefined)
      writeFileSync(at('s.pem'), pair.certificate)
      const options = ['-nameopt', 'multiline,utf8,-esc_msb,-esc_ctrl']
      const shown = openssl('x509', '-in', 's.pem', '-noout', '-subject', '-issuer', ...options)
      t.equal(
        shown.toString(),
        `subject=\n    commonName                = ${subject}\nissuer=\n    commonName                = ${subject}\n`
      )
      t.match(openssl('asn1parse', '-in', 's.pem').toString(), /UTF8STRING/)
      openssl('verify', '-CAfile', 's.pem', 's.pem')
      t.ok(readRecipient(pair.certificate, 's.pem').equals(pair.publicKey))
      t.ok(new X509Certificate(pair.certificate).verify(pair.publicKey))
    }
    const made = await runCli(['keygen', '-o', '\u6771\u4eac', '--bits', '2048', '--plain'], { cwd })
    t.equal(made.code, 0, made.stderr)
    const { subject } = new X509Certificate(readFileSync(at('\u6771\u4eac.crt')))
    t.equal(subject, 'CN=\u6771\u4eac')

    const before = contentsOf(cwd)
    const size = (count: number): string =>
      `the common name of a certificate has 1 to 64 characters; this one has ${count}`
    const text =
      'the common name of a certificate is text in UTF-8, on one line and without control characters'
    const refused: [words: string[], message: string][] = [
      [['-o', 'n', '--subject', 'x'.repeat(65)], size(65)],
      [['-o', 'y'.repeat(65)], size(65)],
      [['-o', './'], size(0)],
      [['-o', 'n', '--subject', 'a\nb'], text],
      [['-o', 'n', '--subject', 'a\u001b[31m'], text]
    ]
    for (const [words, message] of refused)
      failsWith(
        t,
        await runCli(['keygen', '--plain', ...words], { cwd }),
        { code: 2, message },
        words[1] ?? ''
      )
    const latin1 = await runShell(`hexz keygen --plain -o n --subject $'caf\\xe9'`, { cwd })
    failsWith(t, latin1, { code: 2, message: text }, 'Latin-1')
    t.strictSame(contentsOf(cwd), before)
    t.equal(await rejected(makeKeyPair(2048, '', 9, undefined)), `UsageError USAGE: ${size(0)}`)
  })

  await t.test('PKCS#12 with any passphrase, by the methods of OpenSSL 3 and of old', async (t) => {
    const kinds = {
      new: [],
      old: ['-legacy'],
      'without a check': ['-nomac'],
      'nothing encrypted': ['-certpbe', 'NONE', '-keypbe', 'NONE']
    }
    for (const [kind, flags] of Object.entries(kinds))
      for (const passphrase of ['', 'pp-7391', ...texts]) {
        const words = ['-export', '-inkey', 'k.pem', '-in', 'c.pem', '-out', 'k.p12', ...flags]
        openssl('pkcs12', ...words, '-passout', `pass:${passphrase}`)
        t.ok(isRight(await identity('k.p12', passphrase)), `${kind}: "${passphrase}"`)
        for (const other of ['pp-7392', passphrase === '' ? 'x' : ''])
          t.equal(await rejected(identity('k.p12', other)), wrong('k.p12'), `${kind}: wrong`)
      }
    // One in two in Latin-1: OpenSSL takes bytes that are no UTF-8 one by one.
    const latin1 = Buffer.from('Zo\u00eb', 'latin1')
    writeFileSync(at('latin1'), latin1)
    for (const flags of [[], ['-legacy']]) {
      const words = ['-export', '-inkey', 'k.pem', '-in', 'c.pem', '-out', 'k.p12', ...flags]
      openssl('pkcs12', ...words, '-passout', 'file:latin1')
      t.ok(isRight(await identity('k.p12', latin1)), `Latin-1 ${flags.join('')}`)
      t.equal(await rejected(identity('k.p12', Buffer.from('Zo\u00ea', 'latin1'))), wrong('k.p12'))
    }
  })

  await t.test('PEM: blocks count, and no words around them', async (t) => {
    const [key, certificate] = ['k.pem', 'c.pem'].map((name) => readFileSync(at(name), 'latin1'))
    const prose = 'The CERTIFICATE of x, and its PRIVATE KEY, ENCRYPTED.\n -----BEGIN PRIVATE KEY-----\n'
    const cut = '-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nMIIE\n'
    const spki = publicKey.export({ type: 'spki', format: 'pem' }) as string
    const texts: Record<string, string> = {
      'a byte order mark': '\u00ef\u00bb\u00bf',
      comments: prose,
      'a block that does not end': cut,
      parameters: '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'
    }
    for (const [name, text] of Object.entries(texts)) {
      const around = (block = ''): string => `${text}${block}${prose}`
      for (const block of [certificate, spki])
        t.ok(isRight(readRecipient(around(block), 'f')), `recipient: ${name}`)
      writeFileSync(at('f'), around(key), 'latin1')
      t.ok(isRight(await identity('f', 'not asked for')), `identity: ${name}`)
      writeFileSync(at('f'), around(key).replaceAll('\n', '\r\n'), 'latin1')
      t.ok(isRight(await identity('f', 'not asked for')), `identity: ${name}, CR LF`)
    }
    t.ok(
      isRight(readRecipient(`${key}${certificate}`, 'f')),
      'a certificate after its key, as openssl x509 -in'
    )
    writeFileSync(at('f'), `${certificate}${key}`)
    t.ok(isRight(await identity('f', 'not asked for')), 'a key after its certificate')
    for (const words of ['x509 -in c.pem -text', 'x509 -in c.pem -trustout', 'x509 -in c.pem -text -purpose'])
      t.ok(isRight(readRecipient(openssl(...words.split(' ')), 'f')), words)
    writeFileSync(at('f'), openssl('pkey', '-in', 'k.pem', '-text'))
    t.ok(isRight(await identity('f', 'not asked for')), 'pkey -text')
    t.equal(
      caught(() => readRecipient(`${prose}${key}`, 'f')),
      'KeyError KEY_UNUSABLE: f holds a private key; a recipient is a certificate or a public key: openssl pkey -in f -pubout'
    )
    const none = 'KeyError KEY_UNUSABLE: f is neither a certificate nor a public key in PEM'
    for (const text of ['', prose, cut, certificate?.slice(0, -30) ?? ''])
      t.equal(
        caught(() => readRecipient(text, 'f')),
        none
      )
    for (const text of [prose, cut, key?.slice(0, -30) ?? '']) {
      writeFileSync(at('f'), text)
      t.equal(
        await rejected(identity('f', 'x')),
        'KeyError KEY_UNUSABLE: f is not a private key in PEM or PKCS#12'
      )
    }
  })

  await t.test('a key that was encrypted in NFD or Latin-1: the bytes as given', async (t) => {
    writeFileSync(at('disk.img'), 'some bytes')
    await build({ source: at('disk.img'), target: at('r.st'), locks: { recipients: [publicKey] } })
    const nfd = Buffer.from('Zoe\u0308 7391')
    const latin1 = Buffer.from('Zo\u00eb 7391', 'latin1')
    for (const [name, bytes] of Object.entries({ nfd, latin1, nfc: Buffer.from('Zo\u00eb 7391') })) {
      writeFileSync(at(name), bytes)
      openssl('pkey', '-in', 'k.pem', '-aes256', '-passout', `file:${name}`, '-out', `${name}.pem`)
      openssl(
        ...['rsa', '-in', 'k.pem', '-traditional', '-aes128'],
        ...['-passout', `file:${name}`, '-out', `${name}1.pem`]
      )
      openssl(
        ...['pkcs12', '-export', '-inkey', 'k.pem', '-in', 'c.pem'],
        ...['-out', `${name}.p12`, '-passout', `file:${name}`]
      )
      for (const file of [`${name}.pem`, `${name}1.pem`, `${name}.p12`]) {
        t.ok(isRight(await identity(file, bytes)), file)
        t.equal(await rejected(identity(file, 'Zoe 7391')), wrong(file))
      }
      const words = ['extract', 'r.st', '--identity', `${name}.pem`, '--passphrase-file', name]
      t.equal((await runCli(words, { cwd })).stdout.toString(), 'some bytes', name)
    }
    t.ok(isRight(await identity('nfc.pem', nfd)), 'text in NFC is tried first')
    const variable = await runShell(
      `HEXZ_PASSPHRASE=$'Zo\\xeb 7391' hexz extract r.st --identity latin1.pem`,
      { cwd }
    )
    t.equal(variable.stdout.toString(), 'some bytes', variable.stderr)
    const locked = await runCli(['build', 'disk.img', '-e', '--passphrase-file', 'latin1'], { cwd })
    failsWith(
      t,
      locked,
      { code: 6, message: 'the passphrase in latin1 is not text in UTF-8' },
      'a snapshot takes text only'
    )
    openssl(
      ...['pkcs12', '-export', '-inkey', 'k.pem', '-in', 'c.pem', '-out', 'empty.p12'],
      ...['-passout', 'pass:']
    )
    const empty = await runCli(['extract', 'r.st', '--identity', 'empty.p12'], {
      cwd,
      env: { HEXZ_PASSPHRASE: '' }
    })
    t.equal(empty.stdout.toString(), 'some bytes', empty.stderr)
  })
})
