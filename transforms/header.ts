import { checkOptions, checkValue, flag, listOf, object, text } from '../lib/check-options.js'
import * as crypto from '../lib/crypto/slots.js'
import type { Sealing } from '../lib/crypto/sealing.js'
import type { Header } from '../lib/format/header.js'
import { checkLocks, settingsTable } from '../lib/option-tables.js'
import * as profiles from '../lib/profiles.js'

/** What a snapshot begins with, for whoever puts the stages together by hand: settings, header, key and key slots. */

/**
 * The settings of a profile, with what is set otherwise.
 *
 * @throws UsageError for what no profile has, or what does not go together
 */
export function resolveSettings(options: profiles.SettingsOptions = {}): profiles.Settings {
  checkOptions('resolveSettings()', options, settingsTable)
  return profiles.resolveSettings(options)
}

/**
 * The header of a snapshot, for `indexer()`.
 *
 * @param streams names, such as `disk`; a StreamStart tells the chunker a number in this list
 * @param encrypted whether `lock()` and `encryptor()` are used
 * @throws UsageError for what is no name, and for the same name twice; LimitError
 */
export function makeHeader(
  settings: profiles.Settings,
  streams: readonly string[],
  encrypted = false
): Header {
  checkValue('the settings of makeHeader()', settings, object)
  checkValue('the streams of makeHeader()', streams, listOf(text))
  checkValue('the last argument of makeHeader()', encrypted, flag)
  return profiles.makeHeader(settings, streams, encrypted)
}

/**
 * A fresh data key for an encrypted snapshot with this header: `sealing` is for `encryptor()`, and `keySlots` for
 * `indexer()`. They are there later, because scrypt takes a while; nothing is given before. The data key is in the
 * caller's hands: `wipe(sealing.dataKey)` when all is written.
 *
 * @throws UsageError without a lock; LimitError for more than 16, or a cost that no reader would take
 */
export function lock(
  header: Header,
  locks: crypto.Locks
): { sealing: Sealing; keySlots: Promise<Uint8Array> } {
  checkValue('the header of lock()', header, object)
  checkValue('the locks of lock()', locks, object)
  checkLocks(locks)
  return crypto.lock(header, locks)
}
