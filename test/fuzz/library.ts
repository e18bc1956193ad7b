import { mkdtempSync, openSync, closeSync, ftruncateSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blake3 } from '../../lib/format/digest.js'
import { diffStreams, openSnapshot, recoverStream, verifySnapshot, type Snapshot } from '../../lib/index.js'
import type { Random } from './random.js'
import {
  attempt,
  bytesAt,
  firstDifference,
  sizeOf,
  type Outcome,
  type Piece,
  type Report
} from './verdict.js'

/** What is fuzzed; the test of the fuzzer plants faults in it. */
export interface Library {
  readonly openSnapshot: typeof openSnapshot
  readonly verifySnapshot: typeof verifySnapshot
  readonly recoverStream: typeof recoverStream
  readonly diffStreams: typeof diffStreams
}
export const hexz: Library = { openSnapshot, verifySnapshot, recoverStream, diffStreams }

/** Data of one stream that is looked at; a forged one may claim any amount. */
const dataMax = 24 * 2 ** 20
const rangeMax = 64 * 1024

/** What an open snapshot gives of one of its streams. */
export interface StreamOutcome {
  readonly name: string
  readonly size: number
  /** All of it by `runs`; a value of `undefined` when it is too much. */
  readonly whole: Outcome<readonly Piece[] | undefined>
  /** What was read before may be given again, by its digest. */
  readonly isCached: boolean
  /** Ranges by `read`. */
  readonly ranges: readonly {
    readonly start: number
    readonly end: number
    readonly bytes: Outcome<Buffer>
  }[]
}

/** Reads a stream in every way there is, and tells where two ways say different things. */
export async function readStream(
  snapshot: Snapshot,
  { name, size }: { readonly name: string; readonly size: number },
  isCached: boolean,
  random: Random,
  report: Report
): Promise<StreamOutcome> {
  const whole = await attempt(report, 'runs', () => readRuns(snapshot, name, size, report))
  const ranges: StreamOutcome['ranges'][number][] = []
  for (let i = 0; i < 3; i++) {
    const start = random.below(size + 1)
    const end = Math.min(size, start + random.below(random.chance(80) ? 3000 : rangeMax))
    const bytes = await attempt(report, 'read', () => snapshot.read(name, start, end - start))
    ranges.push({ start, end, bytes })
    if (!whole.isOk || whole.value === undefined) continue
    if (!bytes.isOk) report('read fails where runs do not', bytes.message)
    else if (!bytes.value.equals(bytesAt(whole.value, start, end)))
      report('read and runs differ', `${start} to ${end}`)
  }
  const pieces = whole.isOk ? whole.value : undefined
  if (random.chance(30)) await checkIndex(snapshot, { name, size }, pieces, report)
  if (random.chance(20) && size <= 2 ** 20) await checkReadStream(snapshot, name, whole, report)
  if (random.chance(10)) await checkWriteTo(snapshot, name, whole, report)
  return { name, size, whole, isCached, ranges }
}

async function readRuns(
  snapshot: Snapshot,
  name: string,
  size: number,
  report: Report
): Promise<readonly Piece[] | undefined> {
  const pieces: Piece[] = []
  let [at, dataSize] = [0, 0]
  for await (const run of snapshot.runs(name)) {
    if (run.offset !== at) report('a gap in runs', `${run.offset} instead of ${at}`)
    const piece =
      run.kind === 'hole'
        ? { offset: run.offset, size: run.size }
        : { offset: run.offset, bytes: Buffer.from(run.bytes) }
    if (run.kind === 'data') {
      dataSize += run.bytes.length
      run.release()
    }
    at += sizeOf(piece)
    pieces.push(piece)
    if (dataSize > dataMax || pieces.length > 10_000) return undefined
  }
  if (at !== size) report('runs end too early', `${at} of ${size}`)
  return pieces
}

/** What the index alone says: extents, pieces, holes. */
async function checkIndex(
  snapshot: Snapshot,
  { name, size }: { readonly name: string; readonly size: number },
  whole: readonly Piece[] | undefined,
  report: Report
): Promise<void> {
  await attempt(report, 'pieces', async () => {
    let at = 0
    for await (const piece of snapshot.pieces(name)) {
      if (piece.offset !== at || piece.size <= 0)
        report('a gap in pieces', `${piece.offset} instead of ${at}`)
      at += piece.size
      if (whole === undefined || piece.kind === 'hole') continue
      if (!blake3(bytesAt(whole, piece.offset, at)).equals(piece.digest))
        report('runs give what is not in the index', `${piece.offset} to ${at}`)
    }
    if (at !== size) report('pieces end too early', `${at} of ${size}`)
  })
  await attempt(report, 'extents', async () => {
    let [at, before] = [0, '']
    for await (const { kind, offset, size: length } of snapshot.extents(name)) {
      if (offset !== at || kind === before || length <= 0)
        report('extents do not follow one another', `${offset}`)
      at += length
      before = kind
      const isHole = await snapshot.isHole(name, offset, Math.min(length, 512))
      if (kind === 'data' && isHole) report('a hole where an extent has data', `${offset}`)
    }
    if (at !== size) report('extents end too early', `${at} of ${size}`)
  })
}

async function checkReadStream(
  snapshot: Snapshot,
  name: string,
  whole: StreamOutcome['whole'],
  report: Report
): Promise<void> {
  const streamed = await attempt(report, 'createReadStream', async () => {
    const parts: Buffer[] = []
    for await (const part of snapshot.createReadStream(name)) parts.push(part as Buffer)
    return Buffer.concat(parts)
  })
  if (streamed.isOk !== whole.isOk) report('a read stream and runs do not fail alike', name)
  else if (streamed.isOk && whole.isOk && whole.value !== undefined) {
    const found = firstDifference([{ offset: 0, bytes: streamed.value }], whole.value)
    if (found !== undefined) report('a read stream and runs differ', found)
  }
}

/** Into a real file, whose bytes are then those of the stream. */
async function checkWriteTo(
  snapshot: Snapshot,
  name: string,
  whole: StreamOutcome['whole'],
  report: Report
): Promise<void> {
  if (whole.isOk && whole.value === undefined) return
  const fd = targetFile()
  ftruncateSync(fd, 0)
  const written = await attempt(report, 'writeTo', async () => {
    const runs = snapshot.writeTo({ fd, name: 'the target' }, name)
    while ((await runs.next()).done !== true);
  })
  if (!whole.isOk || whole.value === undefined) {
    if (written.isOk) report('writeTo goes on where runs fail', whole.isOk ? '' : whole.message)
    return
  }
  // The system's largest file is smaller than a forged stream may be.
  if (!written.isOk && !written.code.startsWith('TARGET'))
    report('writeTo fails where runs do not', written.message)
  if (!written.isOk) return
  for (const piece of whole.value) {
    if (!('bytes' in piece)) continue
    const found = Buffer.alloc(piece.bytes.length)
    const size = readSync(fd, found, 0, found.length, piece.offset)
    if (size < found.length || !found.equals(piece.bytes))
      report('writeTo and runs differ', `at ${piece.offset}`)
  }
}

let target: number | undefined
/** One for all, without a name. */
function targetFile(): number {
  if (target !== undefined) return target
  const folder = mkdtempSync(join(tmpdir(), 'hexz-fuzz-'))
  target = openSync(join(folder, 'target'), 'w+')
  rmSync(folder, { recursive: true })
  return target
}

export function closeTarget(): void {
  if (target !== undefined) closeSync(target)
  target = undefined
}
