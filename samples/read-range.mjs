// Reads a range of a snapshot and writes it to standard output. Only the index pages and blocks that the
// range touches are read, and each byte is checked before it is given.
//
// usage: node samples/read-range.mjs SNAPSHOT OFFSET LENGTH [STREAM]
import { pipeline } from 'node:stream/promises'
import { openSnapshot } from 'hexz'

const [path, offset, length, stream = 'disk'] = process.argv.slice(2)
const start = Number(offset)

const snapshot = await openSnapshot(path)
try {
  const range = { start, end: start + Number(length) }
  await pipeline(snapshot.createReadStream(stream, range), process.stdout)
} finally {
  await snapshot.close()
}
