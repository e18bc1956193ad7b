import { openSync, readFileSync, writeSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { KeyObject } from 'node:crypto'
import { ReadStream } from 'node:tty'
import { normalizePassphrase, type Credentials, type Locks } from '../crypto/slots.js'
import { readIdentity, readRecipient } from '../crypto/keys.js'
import { KeyError, UsageError } from '../errors.js'
import type { ByteSource } from '../reader/byte-source.js'
import { readHeader } from '../reader/structure.js'
import { sourceError } from '../source/source-error.js'
import { isSet, type Arguments, type Flags } from './command.js'
import { parseCount, textFlag, textFlags } from './options.js'

/** Flags of every command that opens a snapshot. */
export const openFlags = {
  passphraseFile: {
    type: 'string',
    value: 'FILE',
    help: 'passphrase of an encrypted snapshot: first line of a file'
  },
  passphraseFd: { type: 'string', value: 'N', help: 'the same from an open file descriptor' },
  identity: { type: 'string', value: 'FILE', help: 'private RSA key of a recipient: PEM or PKCS#12' }
} as const satisfies Flags

/** Flags of every command that makes an encrypted snapshot. */
export const lockFlags = {
  encrypt: {
    type: 'boolean',
    shortFlag: 'e',
    help: 'encrypt, with a passphrase unless only recipients are given'
  },
  recipient: {
    type: 'string',
    value: 'FILE',
    isMultiple: true,
    help: 'encrypt to this certificate or public key (RSA, PEM); may be given again'
  },
  passphraseFile: { ...openFlags.passphraseFile, help: 'passphrase: first line of a file' },
  passphraseFd: openFlags.passphraseFd
} as const satisfies Flags

/** The longest passphrase that is read, in bytes. */
const passphraseSizeMax = 4096

/** Where a passphrase may come from, in this order: file, descriptor, environment. */
export interface PassphraseSources {
  readonly file: string | undefined
  readonly fd: string | undefined
  readonly variable: string
}

/** @throws KeyError for an empty passphrase; SourceError; UsageError */
export async function givenPassphrase({
  file,
  fd,
  variable
}: PassphraseSources): Promise<Buffer | undefined> {
  if (file !== undefined && fd !== undefined)
    throw new UsageError('--passphrase-file and --passphrase-fd both name a passphrase; give one')
  if (file !== undefined) {
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      throw sourceError(error, file)
    })
    return normalizePassphrase(firstLine(text))
  }
  if (fd !== undefined)
    return normalizePassphrase(firstLine(readDescriptor(parseCount(fd, '--passphrase-fd', 0, 1023))))
  const text = process.env[variable]
  return text === undefined ? undefined : normalizePassphrase(text)
}

/** The sources that the common flags name. */
export function passphraseSources(args: Arguments): PassphraseSources {
  return {
    file: textFlag(args, 'passphraseFile'),
    fd: textFlag(args, 'passphraseFd'),
    variable: 'HEXZ_PASSPHRASE'
  }
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? ''
}

function readDescriptor(fd: number): string {
  try {
    return readFileSync(fd, 'utf8')
  } catch (error) {
    throw sourceError(error, `file descriptor ${fd}`)
  }
}

/**
 * What opens a snapshot, as far as it was given; the passphrase is asked for when the snapshot is met.
 *
 * @param isEncrypted whether a snapshot that needs credentials is there
 */
export async function readCredentials(args: Arguments, isEncrypted: boolean): Promise<Credentials> {
  if (!isEncrypted) return {}
  const identityPath = textFlag(args, 'identity')
  const given = await givenPassphrase(passphraseSources(args))
  if (identityPath === undefined) return { passphrase: given ?? (await ask('Passphrase: ')) }
  const bytes = await readFile(identityPath).catch((error: unknown) => {
    throw sourceError(error, identityPath)
  })
  const identity = await readIdentity(
    bytes,
    identityPath,
    async () => given ?? (await ask(`Passphrase of ${identityPath}: `))
  )
  return { identity }
}

/** The credentials for a snapshot, asked for only when its header says that it needs some. Closes it on failure. */
export async function credentialsFor(args: Arguments, source: ByteSource): Promise<Credentials> {
  const isEncrypted = await readHeader(source).then(
    ({ header }) => header.encrypted,
    () => false // whoever opens it next says what is wrong
  )
  try {
    return await readCredentials(args, isEncrypted)
  } catch (error) {
    await source.close()
    throw error
  }
}

/** What a new snapshot is locked with; `undefined` when it is not to be encrypted. */
export async function readLocks(args: Arguments): Promise<Locks | undefined> {
  const recipients = await readRecipients(textFlags(args, 'recipient'))
  const sources = passphraseSources(args)
  const isEncrypted = isSet(args, 'encrypt')
  const isNamed = sources.file !== undefined || sources.fd !== undefined
  if (!isEncrypted && recipients.length === 0) {
    if (isNamed) throw new UsageError('a passphrase is named, but not --encrypt; add -e to encrypt')
    return undefined
  }
  const wantsPassphrase = isNamed || (isEncrypted && recipients.length === 0)
  if (!wantsPassphrase) return { recipients }
  return { passphrase: (await givenPassphrase(sources)) ?? (await askTwice()), recipients }
}

/** @throws KeyError, SourceError */
export async function readRecipients(paths: readonly string[]): Promise<KeyObject[]> {
  return Promise.all(
    paths.map(async (path) => {
      const pem = await readFile(path, 'latin1').catch((error: unknown) => {
        throw sourceError(error, path)
      })
      return readRecipient(pem, path)
    })
  )
}

/** A new passphrase, typed twice. */
export async function askTwice(question = 'New passphrase: '): Promise<Buffer> {
  const first = await ask(question)
  const second = await ask('Again: ')
  if (!first.equals(second)) throw new KeyError('KEY_WRONG', 'the two passphrases differ; nothing was done')
  return first
}

/**
 * Asks on the terminal itself, without echo: standard input may carry the image.
 *
 * @throws KeyError KEY_MISSING without a terminal
 */
export async function ask(question: string): Promise<Buffer> {
  const terminal = openTerminal()
  const input = new ReadStream(terminal)
  try {
    input.setRawMode(true)
    writeSync(terminal, question)
    return normalizePassphrase(await readLine(input))
  } finally {
    writeSync(terminal, '\r\n')
    input.setRawMode(false)
    input.destroy()
  }
}

function openTerminal(): number {
  try {
    return openSync('/dev/tty', 'r+')
  } catch {
    throw new KeyError(
      'KEY_MISSING',
      'a passphrase is needed and there is no terminal to ask on; give --passphrase-file, --passphrase-fd or HEXZ_PASSPHRASE'
    )
  }
}

const keys = { interrupt: '\u0003', end: '\u0004', backspace: '\b', delete: '\u007f' } as const

/** A line in raw mode, where the terminal does nothing by itself. */
function readLine(input: ReadStream): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    input.setEncoding('utf8')
    input.on('error', reject)
    input.on('data', (piece: string) => {
      for (const key of piece) {
        if (key === '\r' || key === '\n' || key === keys.end) resolve(text)
        else if (key === keys.interrupt) process.kill(process.pid, 'SIGINT')
        else if (key === keys.backspace || key === keys.delete) text = text.slice(0, -1)
        else if (text.length < passphraseSizeMax) text += key
      }
    })
    process.once('SIGINT', () => reject(new KeyError('KEY_MISSING', 'no passphrase was given')))
  })
}
