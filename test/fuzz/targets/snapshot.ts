import { type Snapshot } from '../../../lib/index.js'
import { memorySource } from '../../helpers/snapshots.js'
import type { Sample } from '../corpus.js'
import { damage, type Damaged } from '../damaged.js'
import { checkDiff } from '../difference.js'
import { fuzzPassphrase } from '../encode.js'
import { hexz, readStream, type Library, type StreamOutcome } from '../library.js'
import { compareWithOracle, type LibraryOutcome } from '../oracle.js'
import { randomOf, type Random } from '../random.js'
import { checkAgainstPages, checkRecovered, recover } from '../recovery.js'
import type { Input, Target } from '../target.js'
import { attempt, type Outcome, type Report } from '../verdict.js'

/** Snapshots that are damaged, and forged: every way to read them must agree with every other, and with format.md. */
export function snapshotTarget(samples: readonly Sample[], library: Library = hexz): Target {
  const originals = new Map<Sample, Snapshot>()
  const original = async (sample: Sample): Promise<Snapshot> => {
    const source = memorySource(sample.file)
    const open = originals.get(sample) ?? (await hexz.openSnapshot(source, credentialsOf(sample)))
    originals.set(sample, open)
    return open
  }
  return {
    name: 'snapshot',
    share: 860,
    async make(words, keep): Promise<Input> {
      const damaged = await damage(samples, words, keep)
      return {
        bytes: damaged.file,
        story: [damaged.sample.name, ...damaged.story],
        async check(report) {
          const context = { library, damaged, original, report, random: randomOf(...words, 1) }
          const { compare } = await checkSnapshot(context)
          return compare
        }
      }
    },
    async close() {
      for (const snapshot of originals.values()) await snapshot.close()
    }
  }
}

interface Passphrase {
  readonly passphrase?: string
}
const credentialsOf = ({ isEncrypted }: Sample): Passphrase =>
  isEncrypted ? { passphrase: fuzzPassphrase } : {}

/** What a snapshot is checked with. */
export interface Context {
  readonly library: Library
  readonly damaged: Damaged
  /** The sample, open. */
  readonly original: (sample: Sample) => Promise<Snapshot>
  readonly report: Report
  readonly random: Random
}

const sourceOf = ({ damaged }: Context): ReturnType<typeof memorySource> => memorySource(damaged.file, 'x.st')

/** Reads it in all ways; `compare` holds what came of that against format.md. */
export async function checkSnapshot(
  context: Context
): Promise<LibraryOutcome & { readonly compare: () => void }> {
  const { sample, file } = context.damaged
  const outcome = await readAll(context)
  return {
    ...outcome,
    compare: () => compareWithOracle(file, credentialsOf(sample), outcome, context.report)
  }
}

async function readAll(context: Context): Promise<LibraryOutcome> {
  const { library, damaged, original, report, random } = context
  const { sample } = damaged
  const credentials = credentialsOf(sample)
  const verified = await attempt(report, 'verify', async () => {
    const { footer } = await library.verifySnapshot(sourceOf(context), { concurrency: 0, ...credentials })
    return { digest: footer.snapshotDigest }
  })
  if (random.chance(15)) {
    const quick = await attempt(report, 'verify --quick', () =>
      library.verifySnapshot(sourceOf(context), { quick: true, ...credentials })
    )
    if (verified.isOk && !quick.isOk) report('verify passes what verify --quick refuses', quick.message)
  }
  const isCached = random.chance(50)
  const opened = await attempt(report, 'openSnapshot', () =>
    library.openSnapshot(sourceOf(context), { ...credentials, cacheSize: isCached ? 2 ** 20 : 0 })
  )
  if (verified.isOk && !opened.isOk) report('verify passes what does not open', opened.message)
  if (!opened.isOk) {
    if (random.chance(50)) await checkRecovery(context, verified, undefined, undefined)
    return { verified, streams: undefined }
  }
  const snapshot = opened.value
  try {
    const streams: StreamOutcome[] = []
    for (const stream of snapshot.streams)
      streams.push(await readStream(snapshot, stream, isCached, random, report))
    for (const { whole } of streams)
      if (verified.isOk && !whole.isOk) report('verify passes what cannot be read', whole.message)
    const plain = sample.plain[0]
    if (random.chance(30) && plain !== undefined)
      await checkDiff(library.diffStreams, await original(sample), plain, snapshot, streams, report)
    if (random.chance(50)) await checkRecovery(context, verified, snapshot, streams)
    return { verified, streams }
  } finally {
    await snapshot.close()
  }
}

async function checkRecovery(
  context: Context,
  verified: Outcome<unknown>,
  snapshot: Snapshot | undefined,
  streams: readonly StreamOutcome[] | undefined
): Promise<void> {
  const { library, damaged, report, random } = context
  const { sample, file, isDamaged, isCut } = damaged
  const number = random.below(random.chance(90) ? sample.plain.length : 3)
  const options = { stream: number, ...credentialsOf(sample) }
  const recovered = await recover(library.recoverStream, sourceOf(context), options, report)
  if (!recovered.isOk) {
    const hasNoMagic = file.length < 8 && recovered.code === 'NOT_A_SNAPSHOT'
    // Without its key slots nothing of an encrypted one can be read.
    const hasNoKeys = sample.isEncrypted && recovered.message.includes('ends inside its header')
    if (isCut && !hasNoMagic && !hasNoKeys)
      report('recover fails on a cut', `${recovered.code} ${recovered.message}`)
    if (verified.isOk) report('recover fails where verify passes', recovered.message)
    return
  }
  const { lost, damage: gaps, isComplete } = recovered.value.result
  const stream = streams?.[number]
  if (isComplete && !verified.isOk) report(`recover says complete, verify ${verified.code}`, verified.message)
  if (verified.isOk && stream !== undefined && !isComplete)
    report('verify passes, recover says it is not complete', JSON.stringify({ lost, gaps }))
  if (verified.isOk && stream?.whole.isOk === true && stream.whole.value !== undefined)
    checkRecovered(recovered.value, stream.whole.value, 'recover gives other bytes than runs', report)
  const bytes = sample.plain[number]
  if (isDamaged && bytes !== undefined)
    checkRecovered(
      recovered.value,
      [{ offset: 0, bytes }],
      'recover gives other bytes than were stored',
      report
    )
  if (snapshot !== undefined && stream !== undefined)
    await checkAgainstPages(snapshot, number, recovered.value, report)
}
