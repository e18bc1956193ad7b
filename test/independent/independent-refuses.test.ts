/** The reader that was written from docs/format.md alone refuses what that document says it must. */
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import t from 'tap'
import { readForward, readIndexed } from '../helpers/independent-reader.js'
import { built, seeded, verdict, words } from '../helpers/independent/made.js'

const other = generateKeyPairSync('rsa', { modulusLength: 2048 })

/** About 4 KiB with a block, a repeat, a hole, two streams and two codecs. */
const part = words(1, 2000)
const small = {
  disk: Buffer.concat([part.subarray(0, 1024), Buffer.alloc(600), part.subarray(0, 1024)]),
  memory: part.subarray(512, 1300)
}
const smallOptions = { chunkSize: 512, codec: 'zstd', level: 3 } as const

const smallKey = { recipients: [other.publicKey] }

function changedAt(file: Buffer, at: number, random: (limit: number) => number): Buffer {
  const changed = Buffer.from(file)
  changed.writeUInt8(changed.readUInt8(at) ^ (1 + random(255)), at)
  return changed
}

void t.test('a changed byte is refused', async (t) => {
  const random = seeded(7)
  const plain = readFileSync(await built(t, small, smallOptions))
  const sealed = readFileSync(await built(t, small, { ...smallOptions, locks: smallKey }))
  const headerSize = sealed.readUInt32LE(12)
  const cases = [
    { file: plain, rounds: 600, credentials: {} },
    { file: sealed, rounds: 300, credentials: { identity: other.privateKey } }
  ]
  for (const { file, rounds, credentials } of cases) {
    const good = readForward(file, credentials)
    let seenByIndex = 0
    for (let round = 0; round < rounds; round++) {
      const place = random(file === plain ? file.length : file.length - 15 * 640)
      // No digest covers the key slots. The first is used; those behind it are empty, and may be damaged.
      const at = file === plain || place < headerSize + 640 ? place : place + 15 * 640
      const changed = changedAt(file, at, random)
      const forward = verdict(readForward, changed, credentials, good)
      if (forward.startsWith('w')) t.fail(`front to back, a change at ${at} gives ${forward}`)
      // By the index, frames of holes and repeats are never read.
      const indexed = verdict(readIndexed, changed, credentials, good)
      if (indexed === 'wrong bytes') t.fail(`by the index, a change at ${at} gives ${indexed}`)
      if (indexed !== 'whole') seenByIndex++
    }
    t.ok(seenByIndex > rounds * 0.75, `by the index ${seenByIndex} of ${rounds} are seen`)
  }
})

void t.test('a changed byte under a checksum that fits is refused, or changes nothing', async (t) => {
  const random = seeded(8)
  const file = readFileSync(await built(t, small, smallOptions))
  const good = readForward(file)
  const frames: number[] = []
  for (let at = file.readUInt32LE(12); at < file.length - 96; at += 16 + file.readUInt32LE(at + 12))
    frames.push(at)
  const counts = new Map<string, number>()
  for (const at of frames) {
    const size = 16 + file.readUInt32LE(at + 12)
    for (let round = 0; round < 60; round++) {
      const changed = changedAt(file, at + 4 + random(size - 4), random)
      changed.writeUInt32LE(crc32(changed.subarray(at + 4, at + size)), at)
      for (const read of [readForward, readIndexed]) {
        const said = verdict(read, changed, {}, good)
        if (said === 'wrong bytes') t.fail(`${read.name}: ${said} after a change in the frame at ${at}`)
        counts.set(said, (counts.get(said) ?? 0) + 1)
      }
    }
  }
  t.ok((counts.get('damaged') ?? 0) > frames.length * 60, JSON.stringify([...counts]))
})

void t.test('a snapshot that was cut off or went on is incomplete', async (t) => {
  const file = readFileSync(await built(t, small, smallOptions))
  const good = readForward(file)
  for (const read of [readForward, readIndexed]) {
    for (let size = 8; size < file.length; size++) {
      const said = verdict(read, file.subarray(0, size), {}, good)
      if (said !== 'incomplete') t.fail(`${read.name}: ${size} bytes are ${said}`)
    }
    t.equal(
      verdict(read, Buffer.concat([file, Buffer.alloc(1)]), {}, good),
      'incomplete',
      `${read.name}: a byte more`
    )
    t.equal(verdict(read, Buffer.from('hexz snapshot'), {}, good), 'no snapshot', read.name)
  }
})
