import { availableParallelism, cpus, totalmem } from 'node:os'
import type { Contest, Marks } from './contests.js'
import type { KernelSeconds } from './kernels.js'
import { spread, type Measurement } from './measure.js'

export interface Result {
  readonly contest: Contest
  /** Turn by turn. */
  readonly ours: readonly Measurement[]
  readonly theirs: readonly Measurement[]
  /** Bytes of what was made. */
  readonly sizes: { readonly ours: number; readonly theirs: number }
}

export interface Efficiency {
  readonly profile: string
  readonly source: string
  readonly kernels: KernelSeconds
  readonly ours: readonly Measurement[]
}

/** How the written document begins. */
export const documentHead = `# Benchmarks

Written by \`TMPDIR=/dev/shm npm run bench -- --corpus DIR --write docs/benchmarks.md\`. DIR holds vm.img (a system's ext4 image, a
third of it free), fw.img (a smaller one, of programs and modules), eda.tar (netlists and other text, some of it in
versions), ml.bin (bf16 and float32 weights, two checkpoints), random.bin and zeros.bin; a file that is not there is made
of mixed data. File to file, page cache warm, outputs in memory: hexz syncs what it writes, its peers but borg and restic
do not, so on a disk the disk would be measured. [decisions.md](decisions.md) says what bounds a build, and an extract.`

/** Share of all cores' time that the kernels alone would need. */
const efficiencyMark = 0.8

/** Median of the ratios ours / theirs, pair by pair. */
function ratiosOf({ ours, theirs, sizes }: Result): Record<keyof Marks, number> {
  const paired = (figure: 'wall' | 'peak'): number =>
    spread(ours.map((our, i) => our[figure] / (theirs[i]?.[figure] ?? NaN))).median
  return { wall: paired('wall'), peak: paired('peak'), size: sizes.ours / sizes.theirs }
}

/** One line: the contest, its ratio, and each mark. */
export function verdictOf(result: Result): string {
  const { title, source, peer } = result.contest
  return `${title}, ${source}, beside ${peer}: wall × ${ratiosOf(result).wall.toFixed(2)}${marksOf(result, '; ')}`
}

function marksOf(result: Result, before: string): string {
  const ratios = ratiosOf(result)
  const texts = Object.entries(result.contest.marks).map(([figure, mark]) => {
    const ratio = ratios[figure as keyof Marks]
    return `${figure} ${ratio.toFixed(2)} of at most ${mark}: ${ratio <= mark ? 'met' : 'missed'}`
  })
  return texts.length === 0 ? '' : before + texts.join('; ')
}

/** How it was measured. */
export interface Conditions {
  readonly runCount: number
  readonly isQuick: boolean
  /** What the outputs lie on. */
  readonly filesystem: string
}

/** Machine, versions, and a row for each side of each contest. */
export function renderTable(
  results: readonly Result[],
  versions: ReadonlyMap<string, string | undefined>,
  { runCount, isQuick, filesystem }: Conditions
): string {
  const peers = [...versions].map(
    ([peer, version]) => `- ${peer}: ${version ?? 'not installed, not measured'}`
  )
  const rows = results.flatMap((result) => {
    const { contest, ours, theirs, sizes } = result
    return [
      row(`${contest.title}, ${contest.source}`, 'hexz', ours, sizes.ours, ratiosOf(result).wall.toFixed(2)),
      row('', contest.peer, theirs, sizes.theirs, marksOf(result, ''))
    ]
  })
  return [
    `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}; outputs on ${filesystem}.`,
    `Smallest / middle / largest of ${runCount} runs in turn${isQuick ? '; only the first 256 MiB of each source, so that starting Node weighs more than it does in the full run' : ', after one that is not counted'}.`,
    'Ratio: hexz / peer, the middle of the ratios pair by pair.',
    '',
    ...peers,
    '',
    '| what | program | wall s | CPU s | peak MiB | bytes | ratio, marks |',
    '|---|---|---|---|---|---|---|',
    ...rows
  ].join('\n')
}

function row(
  what: string,
  program: string,
  runs: readonly Measurement[],
  size: number,
  last: string
): string {
  const { min, median, max } = spread(runs.map(({ wall }) => wall))
  const cpu = spread(runs.map((run) => run.cpu)).median
  const peak = Math.max(...runs.map((run) => run.peak))
  const wall = [min, median, max].map((value) => value.toFixed(2)).join(' / ')
  return `| ${what} | ${program} | ${wall} | ${cpu.toFixed(2)} | ${peak.toFixed(0)} | ${size} | ${last} |`
}

/** How much of the cores' time goes into the work that cannot be saved. */
export function renderEfficiency(efficiencies: readonly Efficiency[]): string {
  const rows = efficiencies.map(({ profile, source, kernels, ours }) => {
    const wall = spread(ours.map((run) => run.wall)).median
    const { holeTest, digest, codec } = kernels
    const share = (holeTest + digest + codec) / (availableParallelism() * wall)
    const seconds = [holeTest, digest, codec, wall].map((value) => value.toFixed(2)).join(' | ')
    return `| ${profile}, ${source} | ${seconds} | ${share.toFixed(2)} | ${share >= efficiencyMark ? 'met' : 'missed'} |`
  })
  return [
    `Kernels alone, CPU seconds on one thread; efficiency = their sum / (cores × wall), mark ${efficiencyMark}.`,
    '',
    '| what | hole test | digest | codec | wall s | efficiency | mark |',
    '|---|---|---|---|---|---|---|',
    ...rows
  ].join('\n')
}
