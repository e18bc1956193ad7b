/**
 * Times hexz beside the programs that people would otherwise use, in turn (A B A B …) in one run, and
 * prints wall and CPU time, peak memory and size with the ratios pair by pair, and each mark met or missed.
 *
 *   npm run bench -- [--corpus DIR] [--quick] [--runs N] [--only TEXT] [--write FILE]
 *
 * DIR holds vm.img, fw.img, eda.tar, ml.bin, random.bin and zeros.bin; a file that is not there is made of
 * mixed data. `--quick` takes the first 256 MiB of each and two runs, both counted. `--only` takes the contests whose
 * title, source or peer holds TEXT. What is made lies where TMPDIR says. `--write` also models more cores, and writes
 * all tables as Markdown.
 */
import { spawnSync } from 'node:child_process'
import { createWriteStream, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { contests, type Contest, type Side } from './contests.js'
import { measureKernels } from './kernels.js'
import { measure, runLine, versionOf, type Environment, type Measurement } from './measure.js'
import { mixedData } from './mixed-data.js'
import { documentHead, renderEfficiency, renderTable, verdictOf, type Result } from './report.js'
import { renderScaling } from './scale.js'

const MiB = 1024 * 1024
const quickSize = 256 * MiB

const { values } = parseArgs({
  options: {
    corpus: { type: 'string' },
    quick: { type: 'boolean', default: false },
    runs: { type: 'string' },
    only: { type: 'string', default: '' },
    write: { type: 'string' }
  }
})
const runCount = Number(values.runs ?? (values.quick ? 2 : 5))
const work = mkdtempSync(join(tmpdir(), 'hexz-bench-'))
const filesystem = spawnSync('stat', ['-f', '-c', '%T', work]).stdout.toString().trim()
const hexz = fileURLToPath(new URL('../cli.js', import.meta.url))

/** The corpus file of that name, or mixed data in its place; its first bytes when it has to be quick. */
async function sourceOf(name: string): Promise<string> {
  const given = values.corpus === undefined ? undefined : join(values.corpus, name)
  if (given !== undefined && existsSync(given) && !values.quick) return given
  const made = join(work, name)
  if (existsSync(made)) return made
  if (given !== undefined && existsSync(given)) runLine(`head -c ${quickSize} '${given}' > '${made}'`, {})
  else if (name === 'zeros.bin') runLine(`head -c ${quickSize} /dev/zero > '${made}'`, {})
  else if (name === 'random.bin') runLine(`head -c ${quickSize} /dev/urandom > '${made}'`, {})
  else await pipeline(Readable.from(mixedData(values.quick ? quickSize : 512 * MiB)), createWriteStream(made))
  return made
}

/** Runs both sides in turn; the first turn fills the page cache and is not counted, unless it has to be quick. */
async function run(contest: Contest): Promise<Result> {
  const { ours, theirs, source } = contest
  const out = mkdtempSync(join(work, 'out-'))
  const env: Environment = { SRC: await sourceOf(source), OUT: out, HEXZ: `${process.execPath} ${hexz}` }
  const counted: Record<'ours' | 'theirs', Measurement[]> = { ours: [], theirs: [] }
  const sizes: Record<'ours' | 'theirs', number> = { ours: 0, theirs: 0 }
  const turn = async (name: 'ours' | 'theirs', side: Side, isCounted: boolean): Promise<void> => {
    if (side.prepare !== undefined) runLine(side.prepare, env)
    const measured = await measure(side.command, env)
    if (isCounted) counted[name].push(measured)
    sizes[name] = diskSize(join(out, side.made))
  }
  for (const { setUp } of [ours, theirs]) if (setUp !== undefined) runLine(setUp, env)
  for (let i = values.quick ? 1 : 0; i <= runCount; i++) {
    await turn('ours', ours, i > 0)
    await turn('theirs', theirs, i > 0)
  }
  rmSync(out, { recursive: true })
  return { contest, ...counted, sizes }
}

/** What `--write` writes. */
async function renderDocument(tables: string): Promise<string> {
  const image = await sourceOf('vm.img')
  const scaling = []
  for (const options of [[], ['--cdc'], ['-p', 'eda']])
    scaling.push(await renderScaling('vm.img', image, options, Math.min(3, runCount)))
  return `${documentHead}\n\n${tables}\n\n## More cores\n\n${scaling.join('\n\n')}\n`
}

/** Bytes of a file, or of all files in a folder. */
function diskSize(path: string): number {
  return Number(spawnSync('du', ['-sb', path]).stdout.toString().split('\t')[0])
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

try {
  const chosen = contests.filter(({ title, source, peer }) =>
    `${title} ${source} ${peer}`.includes(values.only)
  )
  const versions = new Map<string, string | undefined>()
  for (const { peer } of chosen) if (peer !== 'hexz') versions.set(peer, versionOf(peer))
  const results: Result[] = []
  for (const contest of chosen) {
    if (contest.peer !== 'hexz' && versions.get(contest.peer) === undefined) {
      print(`${contest.title}, ${contest.source}: ${contest.peer} is not installed, so this is not measured`)
      continue
    }
    const result = await run(contest)
    print(verdictOf(result))
    results.push(result)
  }
  const efficiencies = []
  for (const { contest, ours } of results) {
    const isKernelBound = ['generic', 'eda', 'ml', 'embedded'].includes(contest.title)
    const isFirst = results.find(
      (other) => other.contest.title === contest.title && other.contest.source === contest.source
    )
    if (!isKernelBound || isFirst?.ours !== ours || ['random.bin', 'zeros.bin'].includes(contest.source))
      continue
    const kernels = await measureKernels(await sourceOf(contest.source), contest.title)
    efficiencies.push({ profile: contest.title, source: contest.source, kernels, ours })
  }
  const text = [
    renderTable(results, versions, { runCount, isQuick: values.quick, filesystem }),
    renderEfficiency(efficiencies)
  ].join('\n\n')
  print(`\n${text}`)
  if (values.write !== undefined) writeFileSync(values.write, await renderDocument(text))
} finally {
  rmSync(work, { recursive: true, force: true })
}
