// An encrypted snapshot out of the stages themselves: what `hexz build --encrypt` does, with every stage in sight. Put your own
// stream between any two of them.
//
// usage: HEXZ_PASSPHRASE=… node samples/encrypted-pipeline.mjs SOURCE SNAPSHOT
import { pipeline } from 'node:stream/promises'
import {
  chunker,
  compressor,
  dedupFilter,
  encryptor,
  indexer,
  inOrder,
  lock,
  makeHeader,
  openSource,
  openTarget,
  reader,
  resolveSettings,
  sink,
  wipe
} from 'hexz/transforms'

const [source, snapshot] = process.argv.slice(2)
const settings = resolveSettings({ profile: 'eda' })
const header = makeHeader(settings, ['disk'], true)

// A fresh key for this snapshot, and the slots that will hold it, locked by the passphrase.
const { sealing, keySlots } = lock(header, { passphrase: process.env.HEXZ_PASSPHRASE })

try {
  await pipeline(
    reader(await openSource(source)),
    ...inOrder(
      chunker({ chunker: settings.chunker, avg: settings.chunkSizeAvg }),
      dedupFilter(),
      compressor({ codec: settings.codec, level: settings.level }),
      indexer({
        header,
        keySlots,
        onSummary: ({ fileSize }) => console.log(`${snapshot}: ${fileSize} bytes, sealed`)
      }),
      encryptor({ sealing })
    ),
    sink(await openTarget(snapshot, { content: 'snapshot', sources: [source] }))
  )
} finally {
  wipe(sealing.dataKey)
}
