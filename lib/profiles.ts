import { LimitError, UsageError } from './errors.js'
import { checkDictionary, type DictionaryMode } from './compression/dictionary.js'
import type { CodecName } from './format/frame.js'
import { formatVersion, isStreamName, type Header } from './format/header.js'
import { formatLimits } from './limits.js'

/** A named bundle of settings. */
export interface Profile {
  readonly codec: CodecName
  /** 0 when the codec has none. */
  readonly level: number
  /** Bytes; the average with content-defined chunking. */
  readonly chunkSize: number
  readonly usesDictionary: boolean
  readonly purpose: string
}

const KiB = 1024

/** Fixed by the product's definition. */
export const profiles = {
  generic: {
    codec: 'lz4',
    level: 0,
    chunkSize: 64 * KiB,
    usesDictionary: false,
    purpose: 'operating-system images, file servers, development VMs'
  },
  eda: {
    codec: 'zstd',
    level: 3,
    chunkSize: 128 * KiB,
    usesDictionary: true,
    purpose: 'CAD databases, netlists, FPGA and ASIC work'
  },
  embedded: {
    codec: 'lz4',
    level: 0,
    chunkSize: 16 * KiB,
    usesDictionary: false,
    purpose: 'IoT, embedded Linux, small memory'
  },
  ml: {
    codec: 'zstd',
    level: 3,
    chunkSize: 256 * KiB,
    usesDictionary: true,
    purpose: 'model weights, training data'
  }
} as const satisfies Record<string, Profile>

export type ProfileName = keyof typeof profiles
export const profileNames = Object.keys(profiles) as ProfileName[]

/** Above it an encoder takes hundreds of megabytes, and gains next to nothing on chunks. */
export const zstdLevelMax = 19

/** The level of a codec when none is given. */
const defaultLevels: Record<CodecName, number> = { raw: 0, lz4: 0, zstd: 3 }

/** What may be set beside a profile; what is absent is the profile's. Sizes in bytes. */
export interface SettingsOptions {
  /** Default `generic`. */
  readonly profile?: string
  /** Content-defined chunking: the chunk size becomes the average. */
  readonly cdc?: boolean
  readonly codec?: CodecName
  /** 1 to 19, for Zstd. */
  readonly level?: number
  readonly chunkSize?: number
  /** With `cdc` only; default a quarter of the average and twice of it. */
  readonly chunkSizeMin?: number
  readonly chunkSizeMax?: number
}

/** What may be set beside what the header holds. */
export interface DictionaryOptions {
  /**
   * Default `auto` for the profiles that have one, where the codec is Zstd; else `off`. Bytes are a ready
   * dictionary: raw content, or in Zstandard's format.
   */
  readonly dictionary?: DictionaryMode
}

export type Settings = Omit<Header, 'major' | 'minor' | 'encrypted' | 'streams'>

/** Of Zstd. @throws UsageError */
export function checkLevel(level: number): void {
  if (!Number.isInteger(level) || level < 1 || level > zstdLevelMax)
    throw new UsageError(`level ${level} is out of range: Zstd has 1 to ${zstdLevelMax}`)
}

/** @throws UsageError for a profile, codec, level or size that does not exist or does not fit the others */
export function resolveSettings(options: SettingsOptions = {}): Settings {
  const { profile: name = 'generic', cdc = false } = options
  const profile: Profile | undefined = Object.hasOwn(profiles, name)
    ? profiles[name as ProfileName]
    : undefined
  if (profile === undefined)
    throw new UsageError(`there is no profile "${name}"; the profiles are ${profileNames.join(', ')}`)
  const { codec = profile.codec, chunkSize = profile.chunkSize } = options
  const level = options.level ?? (codec === profile.codec ? profile.level : defaultLevels[codec])
  if (codec === 'zstd') checkLevel(level)
  else if (level !== 0) throw new UsageError(`${codec} has no levels; leave the level out, or use zstd`)
  if (!cdc && (options.chunkSizeMin !== undefined || options.chunkSizeMax !== undefined)) {
    throw new UsageError('smallest and largest chunk size apply to content-defined chunking', {
      remedy: { option: 'cdc', does: 'turns it on' }
    })
  }
  const bounds = cdc ? chunkSizeBounds(chunkSize) : { min: chunkSize, max: chunkSize }
  const { chunkSizeMin = bounds.min, chunkSizeMax = bounds.max } = options
  checkChunkSizes({ min: chunkSizeMin, avg: chunkSize, max: chunkSizeMax })
  return {
    profile: name,
    chunker: cdc ? 'fastcdc' : 'fixed',
    codec,
    level,
    chunkSizeMin,
    chunkSizeAvg: chunkSize,
    chunkSizeMax
  }
}

/**
 * Whether a dictionary is used; for Zstd only.
 *
 * @throws UsageError for one that is demanded of another codec, or that is none
 */
export function resolveDictionary(
  options: SettingsOptions & DictionaryOptions,
  { codec, profile }: Pick<Settings, 'codec' | 'profile'>
): DictionaryMode {
  const { dictionary } = options
  if (dictionary instanceof Uint8Array) checkDictionary(dictionary, 'the dictionary')
  if (codec !== 'zstd') {
    if (dictionary === 'always' || dictionary instanceof Uint8Array)
      throw new UsageError(`a dictionary is for Zstd; ${codec === 'raw' ? 'no codec' : 'LZ4'} cannot use one`)
    return 'off'
  }
  return dictionary ?? (profiles[profile as ProfileName].usesDictionary ? 'auto' : 'off')
}

/** Smallest and largest chunk for an average, where none are given: a quarter and twice of it, within the limits. */
export function chunkSizeBounds(avg: number): { min: number; max: number } {
  const { chunkSizeMin, chunkSizeMax } = formatLimits
  return {
    min: Math.min(avg, Math.max(Math.floor(avg / 4), chunkSizeMin)),
    max: Math.max(avg, Math.min(avg * 2, chunkSizeMax))
  }
}

/** @throws UsageError unless 512 ≤ min ≤ avg ≤ max ≤ 4 MiB, all whole numbers */
export function checkChunkSizes({ min, avg, max }: { min: number; avg: number; max: number }): void {
  const { chunkSizeMin, chunkSizeMax } = formatLimits
  if (
    ![min, avg, max].every(Number.isInteger) ||
    Math.min(min, avg, max) < chunkSizeMin ||
    Math.max(min, avg, max) > chunkSizeMax
  ) {
    throw new UsageError(
      `chunk sizes must be whole numbers from ${chunkSizeMin} bytes to ${chunkSizeMax / KiB / KiB} MiB; these are ${min}, ${avg}, ${max}`
    )
  }
  if (min > avg || avg > max)
    throw new UsageError(`chunk sizes must rise: smallest ${min}, average ${avg}, largest ${max} do not`)
}

/** The header of a snapshot with these settings and streams. */
export function makeHeader(settings: Settings, streams: readonly string[], encrypted = false): Header {
  for (const name of streams) {
    if (!isStreamName(name)) {
      throw new UsageError(
        `"${name}" is not a stream name: use up to ${formatLimits.streamNameSizeMax} of a-z 0-9 . _ -`
      )
    }
  }
  const twice = streams.find((name, i) => streams.indexOf(name) !== i)
  if (twice !== undefined) throw new UsageError(`there are two streams named "${twice}"`)
  if (streams.length === 0 || streams.length > formatLimits.streamCountMax) {
    throw new LimitError(
      `a snapshot holds 1 to ${formatLimits.streamCountMax} streams, not ${streams.length}`
    )
  }
  return { ...formatVersion, ...settings, encrypted, streams }
}
