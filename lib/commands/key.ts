import { stat } from 'node:fs/promises'
import { describeCost, describeExcess } from '../crypto/scrypt.js'
import { wipe } from '../crypto/sealing.js'
import type { Credentials } from '../crypto/unlock.js'
import { UsageError } from '../errors.js'
import { backupKeys, restoreKeys } from '../key-backup.js'
import { addKey, listKeys, removeKey, type KeyInfo, type NewKey } from '../keys.js'
import { formatLimits } from '../limits.js'
import { isSet, kebab, type Arguments, type Command } from './command.js'
import { readCredentials } from './credentials.js'
import { parseCount, textFlag } from './options.js'
import { givenPassphrase, secretFlags, passphraseSources, readRecipients } from './passphrase.js'
import { printable } from './printable.js'
import { askTwice } from './terminal.js'

/** Who can open an encrypted snapshot. */
export const key: Command = {
  name: 'key',
  summary: 'list, add or remove the keys that open an encrypted snapshot; keep a copy of them',
  usage: [
    'list SNAPSHOT',
    'add SNAPSHOT [--recipient FILE]',
    'remove SNAPSHOT SLOT',
    'backup SNAPSHOT FILE',
    'restore SNAPSHOT FILE'
  ],
  places: [
    { role: 'other', name: 'what to do' },
    { role: 'input', name: 'the snapshot' },
    { role: 'other', name: 'the slot or file' }
  ],
  flags: {
    recipient: {
      type: 'string',
      value: 'FILE',
      names: 'input',
      help: 'add: the new key is this certificate or public key; default a passphrase'
    },
    newPassphraseFile: {
      type: 'string',
      value: 'FILE',
      names: 'input',
      help: 'add: the new passphrase is the first line of a file'
    },
    newPassphraseFd: {
      type: 'string',
      value: 'N',
      names: 'descriptor',
      help: 'add: the same from an open file descriptor'
    },
    force: {
      type: 'boolean',
      shortFlag: 'f',
      help: 'backup: replace an existing FILE; restore: put back also what is not damaged'
    },
    json: { type: 'boolean', help: 'list as JSON' },
    ...secretFlags
  },
  notes: [
    'add opens the snapshot with a key it has already (--passphrase-file, --passphrase-fd, --identity,',
    'HEXZ_PASSPHRASE or a prompt). The new passphrase may also come from HEXZ_NEW_PASSPHRASE. Only the one slot',
    'of 640 bytes is rewritten. Whoever kept a copy of the file from before can still open that copy. backup keeps',
    'header and key slots in a FILE, without which no key opens a damaged snapshot; restore puts back what is damaged.',
    'A key that is removed later still opens the snapshot with the backup: remove old backups, too.'
  ].join('\n'),
  async run(args, { signal }) {
    const [action = '', path, other] = args.places
    const act = Object.hasOwn(actions, action) ? actions[action] : undefined
    if (path === undefined || act === undefined) {
      throw new UsageError(
        `say what to do and with which file: hexz key ${Object.keys(actions).join('|')} SNAPSHOT; see hexz key --help`
      )
    }
    refuseUnused(args, action)
    await refuseStream(path)
    await act(args, path, other, signal)
  }
}

/** @param other the third word: a slot or a file */
type Action = (args: Arguments, path: string, other: string | undefined, signal: AbortSignal) => Promise<void>

const actions: Readonly<Record<string, Action>> = {
  list: async (args, path, other) => {
    refuseWord(other)
    list(args, await listKeys(path))
  },
  add: async (args, path, other, signal) => {
    refuseWord(other)
    await add(args, path, signal)
  },
  remove: async (_, path, slot, signal) => {
    if (slot === undefined) throw new UsageError('say which slot to remove; hexz key list shows them')
    const number = parseCount(slot, 'slot', 0, formatLimits.keySlotCount - 1)
    await removeKey(path, number, { signal })
    tell(`${path}: key removed from slot ${number}`)
  },
  backup: async (args, path, file) => {
    if (file === undefined || file === '-') throw new UsageError('name the file that is to keep the keys')
    await backupKeys(path, file, { force: isSet(args, 'force') })
    tell(`${file}: header and keys of ${path}`)
  },
  restore: async (args, path, file, signal) => {
    if (file === undefined || file === '-') throw new UsageError('name the file that keeps the keys')
    const secrets: (Buffer | undefined)[] = []
    const credentials = async (): Promise<Credentials> => {
      const own = await readCredentials(args, signal)
      secrets.push(own.passphrase)
      return own
    }
    const restoring = restoreKeys(path, file, { credentials, force: isSet(args, 'force'), signal })
    const isChanged = await restoring.finally(() => wipe(...secrets))
    tell(
      isChanged
        ? `${path}: put back from ${file}`
        : `${path}: header and keys are as they are in ${file}; nothing had to be done`
    )
  }
}

const secretNames = Object.keys(secretFlags)
/** What each of them looks at. */
const flagsOf: Readonly<Record<string, readonly string[]>> = {
  list: ['json'],
  add: ['recipient', 'newPassphraseFile', 'newPassphraseFd', ...secretNames],
  remove: [],
  backup: ['force'],
  restore: ['force', ...secretNames]
}

/** A flag that does nothing is a mistake; the file it names may not even be there. */
function refuseUnused({ flags }: Arguments, action: string): void {
  for (const [name, value] of Object.entries(flags)) {
    const isGiven = value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0)
    if (isGiven && flagsOf[action]?.includes(name) !== true)
      throw new UsageError(`hexz key ${action} makes no use of --${kebab(name)}; see hexz key --help`)
  }
}

function refuseWord(word: string | undefined): void {
  if (word !== undefined) throw new UsageError(`"${word}" is one argument too many`)
}

function tell(text: string): void {
  process.stderr.write(`hexz: ${printable(text)}\n`)
}

/** Slots are changed in place, which takes a file; a pipe has none. */
async function refuseStream(path: string): Promise<void> {
  const stats = await stat(path).catch(() => undefined)
  if (path !== '-' && (stats === undefined || stats.isFile() || stats.isDirectory())) return
  throw new UsageError(
    `hexz key works on a snapshot in a regular file, which ${path === '-' ? 'standard input' : path} is not; name such a file`
  )
}

function list(args: Arguments, keys: readonly KeyInfo[]): void {
  const rows = keys.map((info) => ({ slot: info.slot, type: info.type, detail: detailOf(info) }))
  if (isSet(args, 'json')) {
    process.stdout.write(`${JSON.stringify(rows)}\n`)
    return
  }
  for (const { slot, type, detail } of rows)
    process.stdout.write(`${String(slot).padStart(2)}  ${type.padEnd(10)}  ${detail}\n`)
}

function detailOf({ cost, keyId, isUsable, problem = '' }: KeyInfo): string {
  if (cost !== undefined) return isUsable ? describeCost(cost) : describeExcess(cost)
  return keyId === undefined ? problem : `key id ${keyId}`
}

async function add(args: Arguments, path: string, signal: AbortSignal): Promise<void> {
  const recipientPath = textFlag(args, 'recipient')
  const sources = passphraseSources(args, 'new')
  if (recipientPath !== undefined && (sources.file !== undefined || sources.fd !== undefined))
    throw new UsageError('--recipient and --new-passphrase both name the new key; add one key at a time')
  const [recipient] = await readRecipients(recipientPath === undefined ? [] : [recipientPath], signal)
  const secrets: (Buffer | undefined)[] = []
  try {
    const given = recipient === undefined ? await givenPassphrase(sources, signal) : undefined
    secrets.push(given)
    const credentials = async (): Promise<Credentials> => {
      const own = await readCredentials(args, signal)
      secrets.push(own.passphrase)
      return own
    }
    const newKey = async (): Promise<NewKey> => {
      if (recipient !== undefined) return { recipient }
      const passphrase = given ?? (await askTwice())
      secrets.push(passphrase)
      return { passphrase }
    }
    const number = await addKey(path, credentials, newKey, { signal })
    tell(`${path}: key added in slot ${number}`)
  } finally {
    wipe(...secrets)
  }
}
