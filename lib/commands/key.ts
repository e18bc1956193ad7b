import { open, stat } from 'node:fs/promises'
import { describeCost, isInBounds } from '../crypto/scrypt.js'
import { wipe } from '../crypto/sealing.js'
import { readSlots, wrapForRecipient, wrapWithPassphrase, type UnreadableSlot } from '../crypto/slots.js'
import { unlock } from '../crypto/unlock.js'
import { KeyError, LimitError, UsageError } from '../errors.js'
import { encodeKeySlot, type KeySlot } from '../format/key-slots.js'
import { formatLimits } from '../limits.js'
import { openFileBytes, type ByteSource } from '../reader/byte-source.js'
import { readHeader, type ReadHeader } from '../reader/structure.js'
import { targetError } from '../target/write-all.js'
import { isSet, type Arguments, type Command } from './command.js'
import { parseCount, textFlag } from './options.js'
import { readCredentials } from './credentials.js'
import { givenPassphrase, openFlags, passphraseSources, readRecipients } from './passphrase.js'
import { hex } from './report.js'
import { askTwice } from './terminal.js'
import { blake3 } from '../format/digest.js'

/** Who can open an encrypted snapshot. */
export const key: Command = {
  name: 'key',
  summary: 'list, add or remove the keys that open an encrypted snapshot',
  usage: ['list SNAPSHOT', 'add SNAPSHOT [--recipient FILE]', 'remove SNAPSHOT SLOT'],
  places: [
    { role: 'other', name: 'what to do' },
    { role: 'input', name: 'the snapshot' },
    { role: 'other', name: 'the slot' }
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
    json: { type: 'boolean', help: 'list as JSON' },
    ...openFlags
  },
  notes: [
    'add opens the snapshot with a key it has already (--passphrase-file, --passphrase-fd, --identity,',
    'HEXZ_PASSPHRASE or a prompt). The new passphrase may also come from HEXZ_NEW_PASSPHRASE. Only the one slot',
    'of 640 bytes is rewritten. Whoever kept a copy of the file from before can still open that copy.'
  ].join('\n'),
  async run(args) {
    const [action, path, slot] = args.places
    if (path === undefined || !['list', 'add', 'remove'].includes(action ?? '')) {
      throw new UsageError(
        'say what to do and with which file: hexz key list|add|remove SNAPSHOT; see hexz key --help'
      )
    }
    await refuseStream(path)
    const source = await openFileBytes(path)
    try {
      const slots = await openSlots(source)
      if (action === 'list') list(args, slots)
      else if (action === 'add') await add(args, path, source, slots)
      else await remove(path, slots, slot)
    } finally {
      await source.close()
    }
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

interface Slots extends ReadHeader {
  readonly area: Uint8Array
  readonly slots: (KeySlot | UnreadableSlot | undefined)[]
}

async function openSlots(source: ByteSource): Promise<Slots> {
  const header = await readHeader(source)
  if (!header.header.encrypted) throw new UsageError(`${source.name} is not encrypted, so it has no keys`)
  const area = await source.read(header.bytes.length, header.framesOffset - header.bytes.length)
  return { ...header, area, slots: readSlots(area, source.name) }
}

function list(args: Arguments, { slots }: Slots): void {
  const rows = slots.flatMap((slot, number) =>
    slot === undefined ? [] : [{ slot: number, ...describe(slot) }]
  )
  if (isSet(args, 'json')) {
    process.stdout.write(`${JSON.stringify(rows)}\n`)
    return
  }
  for (const { slot, type, detail } of rows)
    process.stdout.write(`${String(slot).padStart(2)}  ${type.padEnd(10)}  ${detail}\n`)
}

function describe(slot: KeySlot | UnreadableSlot): { type: string; detail: string } {
  const { type } = slot
  if (type === 'damaged') return { type, detail: slot.problem }
  if (type === 'unknown')
    return { type, detail: `kind ${slot.kind}.${slot.scheme}, which this hexz does not know` }
  if (type === 'recipient') return { type, detail: `key id ${hex(slot.keyId)}` }
  return { type, detail: `${describeCost(slot)}${isInBounds(slot) ? '' : ', which is out of bounds'}` }
}

/** Whether this hexz can open a snapshot by it. */
function isUsable(slot: KeySlot | UnreadableSlot | undefined): boolean {
  return slot?.type === 'recipient' || (slot?.type === 'passphrase' && isInBounds(slot))
}

async function add(
  args: Arguments,
  path: string,
  source: ByteSource,
  { area, bytes, slots }: Slots
): Promise<void> {
  const number = slots.indexOf(undefined)
  if (number === -1)
    throw new LimitError(
      `all ${formatLimits.keySlotCount} key slots of ${path} are taken; remove one first`,
      { where: path }
    )
  const recipientPath = textFlag(args, 'recipient')
  const sources = passphraseSources(args, 'new')
  if (recipientPath !== undefined && (sources.file !== undefined || sources.fd !== undefined))
    throw new UsageError('--recipient and --new-passphrase both name the new key; add one key at a time')
  const [recipient] = await readRecipients(recipientPath === undefined ? [] : [recipientPath])
  let passphrase = recipient === undefined ? await givenPassphrase(sources) : undefined
  let dataKey: Buffer | undefined
  try {
    const headerDigest = blake3(bytes)
    const credentials = await readCredentials(args)
    const unlocking = unlock(area, headerDigest, credentials, source.name)
    dataKey = await unlocking.finally(() => wipe(credentials.passphrase))
    const slot =
      recipient === undefined
        ? await wrapWithPassphrase(dataKey, headerDigest, (passphrase ??= await askTwice()))
        : wrapForRecipient(dataKey, recipient)
    await writeSlot(path, bytes.length, number, slot)
  } finally {
    wipe(dataKey, passphrase)
  }
  process.stderr.write(`hexz: ${path}: key added in slot ${number}\n`)
}

async function remove(path: string, { bytes, slots }: Slots, slot: string | undefined): Promise<void> {
  if (slot === undefined) throw new UsageError('say which slot to remove; hexz key list shows them')
  const number = parseCount(slot, 'slot', 0, formatLimits.keySlotCount - 1)
  if (slots[number] === undefined)
    throw new UsageError(`slot ${number} of ${path} is empty; hexz key list shows the others`)
  if (!slots.some((other, i) => i !== number && isUsable(other))) {
    const what = isUsable(slots[number])
      ? `slot ${number} holds the last key of ${path}`
      : `${path} has no other key that this hexz can use`
    throw new KeyError('KEY_MISSING', `${what}; without it nobody could open the snapshot, so it stays`, {
      where: path
    })
  }
  await writeSlot(path, bytes.length, number, undefined)
  process.stderr.write(`hexz: ${path}: key removed from slot ${number}\n`)
}

/** One write inside one slot: whatever happens in the middle of it, the other keys still open the snapshot. */
async function writeSlot(
  path: string,
  areaOffset: number,
  number: number,
  slot: KeySlot | undefined
): Promise<void> {
  const handle = await open(path, 'r+').catch((error: unknown) => {
    throw targetError(error, path)
  })
  try {
    await handle.write(
      encodeKeySlot(slot),
      0,
      formatLimits.keySlotSize,
      areaOffset + number * formatLimits.keySlotSize
    )
    await handle.sync()
  } catch (error) {
    throw targetError(error, path)
  } finally {
    await handle.close()
  }
}
