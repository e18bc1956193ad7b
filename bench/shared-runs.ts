/**
 * Prints how many 32-byte runs two encrypted snapshots share outside header and key slots: windows at every
 * byte of the second that are among the windows at every 32nd byte of the first. A shared run of 63 bytes
 * or more holds such a window wherever it lies. Exact: a match of hashes is held against the bytes.
 *
 *   node dist/bench/shared-runs.js FILE1 FILE2
 *
 * Takes the size of both files in memory, and 16 to 32 bytes for each 32 of the first.
 */
import { readFileSync } from 'node:fs'
import { readHeader } from '../lib/reader/structure.js'
import { openFileBytes } from '../lib/reader/byte-source.js'

const windowSize = 32
const factor = 0x01000193

async function readFrames(path: string | undefined): Promise<Buffer> {
  if (path === undefined) throw new Error('name two files: node dist/bench/shared-runs.js FILE1 FILE2')
  const source = await openFileBytes(path)
  const { framesOffset } = await readHeader(source)
  await source.close()
  return readFileSync(path).subarray(framesOffset)
}

/** factor^windowSize, which takes a byte that leaves the window out of its hash. */
let outFactor = 1
for (let i = 0; i < windowSize; i++) outFactor = Math.imul(outFactor, factor)

function hashAt(bytes: Uint8Array, start: number): number {
  let hash = 0
  for (let i = start; i < start + windowSize; i++) hash = (Math.imul(hash, factor) + (bytes[i] ?? 0)) | 0
  return hash
}

/** Spreads the low bits, where a polynomial's are weak. */
function slotOf(hash: number, mask: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 16), 0x7feb352d)
  return (mixed ^ (mixed >>> 15)) & mask
}

const first = await readFrames(process.argv[2])
const second = await readFrames(process.argv[3])
const windowCount = Math.floor(first.length / windowSize)
const tableSize = 2 ** Math.ceil(Math.log2(2 * windowCount + 2))
/** Number of a window plus one, by hash, with open addressing. */
const table = new Uint32Array(tableSize)
/** The hash of each, so that bytes are compared only where hashes are equal. */
const hashes = new Int32Array(tableSize)
const mask = tableSize - 1

const isSame = (number: number, bytes: Buffer, at: number): boolean =>
  first.compare(bytes, at, at + windowSize, number * windowSize, (number + 1) * windowSize) === 0

/** Whether the window is in the table; otherwise the free slot where it would be. */
function find(bytes: Buffer, at: number, hash: number): number | 'found' {
  for (let slot = slotOf(hash, mask); ; slot = (slot + 1) & mask) {
    const entry = table[slot] ?? 0
    if (entry === 0) return slot
    if (hashes[slot] === hash && isSame(entry - 1, bytes, at)) return 'found'
  }
}

for (let number = 0; number < windowCount; number++) {
  const hash = hashAt(first, number * windowSize)
  const slot = find(first, number * windowSize, hash)
  if (slot === 'found') continue
  table[slot] = number + 1
  hashes[slot] = hash
}

let sharedCount = 0
let hash = second.length >= windowSize ? hashAt(second, 0) : 0
for (let at = 0; at + windowSize <= second.length; at++) {
  if (find(second, at, hash) === 'found') sharedCount += 1
  const [leaving = 0, entering = 0] = [second[at], second[at + windowSize]]
  hash = (Math.imul(hash, factor) + entering - Math.imul(leaving, outFactor)) | 0
}
process.stdout.write(`${sharedCount}\n`)
