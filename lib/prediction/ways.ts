import { cutBits } from '../chunking/fastcdc.js'
import { profileNames, profiles, resolveSettings, type ProfileName, type Settings } from '../profiles.js'

/** A way to cut chunks and compress them; each profile has two. */
export interface Way {
  readonly profile: ProfileName
  readonly cdc: boolean
  readonly settings: Settings
}

export const ways: readonly Way[] = profileNames.flatMap((profile) =>
  [false, true].map((cdc) => ({ profile, cdc, settings: resolveSettings({ profile, cdc }) }))
)

/** Fixed chunks of all profiles are whole numbers of these. */
export const pieceSize = Math.min(...profileNames.map((name) => profiles[name].chunkSize))

/** The largest chunk that any of them cuts. */
export const chunkSizeMax = Math.max(...ways.map(({ settings }) => settings.chunkSizeMax))

/** Top bits of the rolling hash that are zero at each cut of any of them. */
export const levelMin = Math.min(...ways.map(({ settings }) => cutBits(settings.chunkSizeAvg).loose))
