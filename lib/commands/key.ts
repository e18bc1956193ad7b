import { stat } from 'node:fs/promises'
import { describeCost, describeExcess } from '../crypto/scrypt.js'
import { wipe } from '../crypto/sealing.js'
import type { Credentials } from '../crypto/unlock.js'
import { UsageError } from '../errors.js'
import { addKey, listKeys, removeKey, type KeyInfo, type NewKey } from '../keys.js'
import { formatLimits } from '../limits.js'
import { isSet, type Arguments, type Command } from './command.js'
import { readCredentials } from './credentials.js'
import { parseCount, takePlaces, textFlag } from './options.js'
import { givenPassphrase, openFlags, passphraseSources, readRecipients } from './passphrase.js'
import { askTwice } from './terminal.js'

/** Who can open an encrypted snapshot. */
export const key: Command = {
  name: 'key',
  summary: 'list, add or remove the keys that open an encrypted snapshot',
  usage: ['list SNAPSHOT', 'add SNAPSHOT [--recipient FILE]', 'remove SNAPSHOT SLOT'],
  flags: {
    recipient: {
      type: 'string',
      value: 'FILE',
      help: 'add: the new key is this certificate or public key; default a passphrase'
    },
    newPassphraseFile: {
      type: 'string',
      value: 'FILE',
      help: 'add: the new passphrase is the first line of a file'
    },
    newPassphraseFd: { type: 'string', value: 'N', help: 'add: the same from an open file descriptor' },
    json: { type: 'boolean', help: 'list as JSON' },
    ...openFlags
  },
  notes: [
    'add opens the snapshot with a key it has already (--passphrase-file, --passphrase-fd, --identity,',
    'HEXZ_PASSPHRASE or a prompt). The new passphrase may also come from HEXZ_NEW_PASSPHRASE. Only the one slot',
    'of 640 bytes is rewritten. Whoever kept a copy of the file from before can still open that copy.'
  ].join('\n'),
  async run(args, { signal }) {
    const [action, path, slot] = takePlaces(args, [undefined, undefined, undefined])
    if (path === undefined || !['list', 'add', 'remove'].includes(action ?? '')) {
      throw new UsageError(
        'say what to do and with which file: hexz key list|add|remove SNAPSHOT; see hexz key --help'
      )
    }
    await refuseStream(path)
    if (action === 'list') list(args, await listKeys(path))
    else if (action === 'add') await add(args, path, signal)
    else await remove(path, slot, signal)
  }
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
  const [recipient] = await readRecipients(recipientPath === undefined ? [] : [recipientPath])
  const secrets: (Buffer | undefined)[] = []
  try {
    const given = recipient === undefined ? await givenPassphrase(sources) : undefined
    secrets.push(given)
    const credentials = async (): Promise<Credentials> => {
      const own = await readCredentials(args)
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
    process.stderr.write(`hexz: ${path}: key added in slot ${number}\n`)
  } finally {
    wipe(...secrets)
  }
}

async function remove(path: string, slot: string | undefined, signal: AbortSignal): Promise<void> {
  if (slot === undefined) throw new UsageError('say which slot to remove; hexz key list shows them')
  const number = parseCount(slot, 'slot', 0, formatLimits.keySlotCount - 1)
  await removeKey(path, number, { signal })
  process.stderr.write(`hexz: ${path}: key removed from slot ${number}\n`)
}
