import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { KeyObject } from 'node:crypto'
import { normalizePassphrase } from '../crypto/passphrase.js'
import { wipe } from '../crypto/sealing.js'
import type { Locks } from '../crypto/slots.js'
import { KeyError, UsageError } from '../errors.js'
import { sourceError } from '../source/source-error.js'
import { isSet, type Arguments, type Flags } from './command.js'
import { parseCount, textFlag, textFlags } from './options.js'
import { askTwice } from './terminal.js'

/** Flags of every command that opens a snapshot. */
export const openFlags = {
  passphraseFile: {
    type: 'string',
    value: 'FILE',
    names: 'input',
    help: 'passphrase of an encrypted snapshot: first line of a file'
  },
  passphraseFd: {
    type: 'string',
    value: 'N',
    names: 'descriptor',
    help: 'the same from an open file descriptor'
  },
  identity: {
    type: 'string',
    value: 'FILE',
    names: 'input',
    help: 'private RSA key of a recipient: PEM or PKCS#12'
  }
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
    names: 'input',
    help: 'encrypt to this certificate or public key (RSA, PEM); may be given again'
  },
  passphraseFile: { ...openFlags.passphraseFile, help: 'passphrase: first line of a file' },
  passphraseFd: openFlags.passphraseFd
} as const satisfies Flags

/** Where a passphrase may come from, in this order: file, descriptor, environment. */
export interface PassphraseSources {
  readonly file: string | undefined
  readonly fd: string | undefined
  readonly variable: string
  /** What the two flags begin with. */
  readonly flag: string
}

/** The sources that the common flags name, or those of a new passphrase beside them. */
export function passphraseSources(args: Arguments, which: 'given' | 'new' = 'given'): PassphraseSources {
  return which === 'given'
    ? {
        file: textFlag(args, 'passphraseFile'),
        fd: textFlag(args, 'passphraseFd'),
        variable: 'HEXZ_PASSPHRASE',
        flag: '--passphrase'
      }
    : {
        file: textFlag(args, 'newPassphraseFile'),
        fd: textFlag(args, 'newPassphraseFd'),
        variable: 'HEXZ_NEW_PASSPHRASE',
        flag: '--new-passphrase'
      }
}

/** @throws KeyError for an empty passphrase, or one that is no text; SourceError; UsageError */
export async function givenPassphrase({
  file,
  fd,
  variable,
  flag
}: PassphraseSources): Promise<Buffer | undefined> {
  if (file !== undefined && fd !== undefined)
    throw new UsageError(`${flag}-file and ${flag}-fd both name a passphrase; give one`)
  if (file !== undefined) return firstLine(await readWhole(file), file)
  if (fd !== undefined) {
    const number = parseCount(fd, `${flag}-fd`, 0, 1023)
    return firstLine(readDescriptor(number), `file descriptor ${number}`)
  }
  const text = process.env[variable]
  return text === undefined ? undefined : normalizePassphrase(text)
}

/** @throws SourceError */
export async function readWhole(path: string): Promise<Buffer> {
  return readFile(path).catch((error: unknown) => {
    throw sourceError(error, path)
  })
}

function readDescriptor(fd: number): Buffer {
  try {
    return readFileSync(fd)
  } catch (error) {
    throw sourceError(error, `file descriptor ${fd}`)
  }
}

/** Bytes that are no text must not become other ones, which would be far fewer. */
function firstLine(bytes: Buffer, name: string): Buffer {
  try {
    const end = bytes.indexOf('\n')
    const line = bytes.subarray(0, end === -1 ? bytes.length : end + 1)
    return normalizePassphrase(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line))
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new KeyError('KEY_UNUSABLE', `the passphrase in ${name} is not text in UTF-8`, { where: name })
  } finally {
    wipe(bytes)
  }
}

/** Locks whose bytes are the command's own to wipe. */
interface OwnLocks extends Locks {
  readonly passphrase?: Buffer
}

/** What a new snapshot is locked with; `undefined` when it is not to be encrypted. */
export async function readLocks(args: Arguments): Promise<OwnLocks | undefined> {
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
  if (paths.length === 0) return []
  const { readRecipient } = await import('../crypto/keys.js')
  return Promise.all(
    paths.map(async (path) => readRecipient((await readWhole(path)).toString('latin1'), path))
  )
}
