// How much of a log repeats, its time stamps left aside? Two of our stages among other people's streams:
// node:zlib unpacks, split2 cuts date and time off each line, our chunker finds boundaries that depend on
// the content, and our dedup filter tells which chunks came before.
//
// usage: node samples/own-pipeline.mjs LOG.gz        (needs split2: npm install split2)
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import split2 from 'split2'
import { chunker, dedupFilter } from 'hexz/transforms'

const sizes = { unique: 0, repeat: 0, hole: 0 }

await pipeline(
  createReadStream(process.argv[2]),
  createGunzip(),
  split2((line) => `${line.replace(/^\S+ \S+ /, '')}\n`),
  chunker({ chunker: 'fastcdc', min: 512, avg: 1024, max: 4096 }),
  dedupFilter(),
  async (batches) => {
    for await (const { chunks, release } of batches) {
      for (const { kind, rawSize } of chunks) sizes[kind] += rawSize
      release?.() // the batch's memory may be used again
    }
  }
)

const total = sizes.unique + sizes.repeat + sizes.hole
console.log(`${total} bytes without time stamps, of which ${sizes.repeat} repeat`)
