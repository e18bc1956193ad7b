import { lstat, open, rm } from 'node:fs/promises'
import { keyIdOf } from '../crypto/slots.js'
import { checkSubject } from '../crypto/certificate.js'
import { makeKeyPair, rsaBits } from '../crypto/keys.js'
import { wipe } from '../crypto/sealing.js'
import { errnoOf, TargetError, UsageError } from '../errors.js'
import { targetError } from '../target/write-all.js'
import { isSet, type Command } from './command.js'
import { parseCount, textFlag } from './options.js'
import { givenPassphrase, passphraseSources } from './passphrase.js'
import { hex } from './report.js'
import { askTwice } from './terminal.js'

const validDays = 3650

/** A key pair for `--recipient` and `--identity`. */
export const keygen: Command = {
  name: 'keygen',
  summary: 'make a key pair: a certificate to encrypt to, and the private key that opens',
  usage: ['-o NAME    (writes NAME.key and NAME.crt)'],
  places: [{ role: 'other', name: 'the name', flag: 'output' }],
  flags: {
    output: {
      type: 'string',
      shortFlag: 'o',
      value: 'NAME',
      help: 'NAME.key is the private key, NAME.crt the certificate'
    },
    bits: {
      type: 'string',
      value: 'N',
      help: `size of the RSA key: ${rsaBits.min} to ${rsaBits.max}; default ${rsaBits.default}`
    },
    subject: { type: 'string', value: 'TEXT', help: "the certificate's common name; default NAME" },
    plain: { type: 'boolean', help: 'leave the private key unencrypted' },
    passphraseFile: {
      type: 'string',
      value: 'FILE',
      names: 'input',
      help: 'passphrase of the private key: first line of a file'
    },
    passphraseFd: {
      type: 'string',
      value: 'N',
      names: 'descriptor',
      help: 'the same from an open file descriptor'
    }
  },
  async run(args, { signal }) {
    const [name] = args.places
    if (name === undefined || name === '-') throw new UsageError('name the key pair with -o NAME')
    const bits = parseCount(
      textFlag(args, 'bits') ?? String(rsaBits.default),
      '--bits',
      rsaBits.min,
      rsaBits.max
    )
    const sources = passphraseSources(args)
    const isPlain = isSet(args, 'plain')
    if (isPlain && (sources.file !== undefined || sources.fd !== undefined))
      throw new UsageError('--plain leaves the private key unencrypted, but a passphrase is named; give one')
    const subject = textFlag(args, 'subject') ?? name.replace(/^.*\//s, '')
    checkSubject(subject)
    const [keyPath, certificatePath] = [`${name}.key`, `${name}.crt`]
    for (const path of [keyPath, certificatePath]) if (await isThere(path)) throw isTaken(path)
    const passphrase = isPlain ? undefined : ((await givenPassphrase(sources, signal)) ?? (await askTwice()))
    const pair = makeKeyPair(bits, subject, validDays, passphrase).finally(() => wipe(passphrase))
    const { privateKey, certificate, publicKey } = await pair
    await writeNew(keyPath, privateKey, 0o600)
    await writeNew(certificatePath, certificate, 0o644).catch(async (error: unknown) => {
      await rm(keyPath).catch(() => undefined)
      throw error
    })
    process.stdout.write(
      `${keyPath} (keep it secret), ${certificatePath} (give it away), key id ${hex(keyIdOf(publicKey))}\n`
    )
  }
}

function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false // whatever it is, writing will tell
  )
}

function isTaken(path: string): TargetError {
  return new TargetError(
    'TARGET_EXISTS',
    `${path} exists already, and a key is never replaced; choose another name`,
    { where: path }
  )
}

/** Never overwrites: a lost private key is lost data. */
async function writeNew(path: string, text: string, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode).catch((error: unknown) => {
    throw errnoOf(error) === 'EEXIST' ? isTaken(path) : targetError(error, path)
  })
  try {
    await handle.writeFile(text)
    await handle.sync()
  } catch (error) {
    await rm(path).catch(() => undefined)
    throw targetError(error, path)
  } finally {
    await handle.close().catch(() => undefined)
  }
}
