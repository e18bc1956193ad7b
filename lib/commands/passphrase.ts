import { readFileSync } from 'node:fs'
import type { KeyObject } from 'node:crypto'
import { toPassphrase } from '../crypto/passphrase.js'
import { wipe } from '../crypto/sealing.js'
import type { Locks } from '../crypto/slots.js'
import { KeyError, UsageError } from '../errors.js'
import { isSet, type Arguments, type Flags } from './command.js'
import { parseCount, textFlag, textFlags } from './options.js'
import { readSecret } from './secret.js'
import { askTwice } from './terminal.js'

/** Flags that name what opens a snapshot. */
export const secretFlags = {
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

/** Flags of every command that opens a snapshot. */
export const openFlags = {
  ...secretFlags,
  allowPlain: {
    type: 'boolean',
    help: 'take a snapshot that is not encrypted, though a passphrase or identity is given'
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

/** A secret as it was given, without the end of its line. */
export interface GivenSecret {
  readonly bytes: Buffer
  /** Where it comes from, to be put behind "the passphrase". */
  readonly where: string
}

/** `undefined` when no source has one. @throws SourceError, UsageError, LimitError; KeyError for what is no text */
export async function givenSecret(
  { file, fd, variable, flag }: PassphraseSources,
  signal: AbortSignal
): Promise<GivenSecret | undefined> {
  if (file !== undefined && fd !== undefined)
    throw new UsageError(`${flag}-file and ${flag}-fd both name a passphrase; give one`)
  if (file !== undefined) return { bytes: await readSecret(file, 'line', signal), where: ` in ${file}` }
  if (fd !== undefined) {
    const number = parseCount(fd, `${flag}-fd`, 0, 1023)
    return { bytes: await readSecret(number, 'line', signal), where: ` in file descriptor ${number}` }
  }
  const text = process.env[variable]
  return text === undefined
    ? undefined
    : { bytes: environmentBytes(variable, text), where: ` in ${variable}` }
}

/** The same as a snapshot takes it. @throws as `givenSecret`; KeyError for an empty one, or one that is no text */
export async function givenPassphrase(
  sources: PassphraseSources,
  signal: AbortSignal
): Promise<Buffer | undefined> {
  const given = await givenSecret(sources, signal)
  return given === undefined ? undefined : toPassphrase(given.bytes, given.where)
}

/** Node makes U+FFFD of every byte that is no text, so that many passphrases would be one: the system has the bytes. */
function environmentBytes(variable: string, text: string): Buffer {
  if (!text.includes('\ufffd')) return Buffer.from(text)
  let environment: Buffer | undefined
  try {
    environment = readFileSync('/proc/self/environ')
    const start = `${variable}=`
    for (let at = 0; at < environment.length;) {
      const end = environment.indexOf(0, at)
      const entry = environment.subarray(at, end === -1 ? environment.length : end)
      if (entry.subarray(0, start.length).toString('latin1') === start)
        return Buffer.from(entry.subarray(start.length))
      at += entry.length + 1
    }
  } catch {
    // not Linux
  } finally {
    wipe(environment)
  }
  throw new KeyError('KEY_UNUSABLE', `the passphrase in ${variable} is not text in UTF-8`)
}

/** Locks whose bytes are the command's own to wipe. */
interface OwnLocks extends Locks {
  readonly passphrase?: Buffer
}

/** What a new snapshot is locked with; `undefined` when it is not to be encrypted. */
export async function readLocks(args: Arguments, signal: AbortSignal): Promise<OwnLocks | undefined> {
  const recipients = await readRecipients(textFlags(args, 'recipient'), signal)
  const sources = passphraseSources(args)
  const isEncrypted = isSet(args, 'encrypt')
  const isNamed = sources.file !== undefined || sources.fd !== undefined
  if (!isEncrypted && recipients.length === 0) {
    if (isNamed) throw new UsageError('a passphrase is named, but not --encrypt; add -e to encrypt')
    return undefined
  }
  const wantsPassphrase = isNamed || (isEncrypted && recipients.length === 0)
  if (!wantsPassphrase) return { recipients }
  return { passphrase: (await givenPassphrase(sources, signal)) ?? (await askTwice()), recipients }
}

/** @throws KeyError, SourceError, LimitError */
export async function readRecipients(paths: readonly string[], signal: AbortSignal): Promise<KeyObject[]> {
  if (paths.length === 0) return []
  const { readRecipient } = await import('../crypto/keys.js')
  return Promise.all(paths.map(async (path) => readRecipient(await readSecret(path, 'whole', signal), path)))
}
