import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { chain } from 'stream-chain'
import t from 'tap'
import {
  chunker,
  compressor,
  dedupFilter,
  dictionarySampler,
  encryptor,
  indexer,
  inOrder,
  makeHeader,
  openSource,
  openTarget,
  reader,
  resolveSettings,
  sink,
  type FilteredBatch
} from '../../transforms/index.js'

/*
 * What the compiler makes of the stages. `npm run typecheck` is the test: it fails where a line below that should not
 * compile does, and where one that should does not. Nothing of it is run.
 */

export async function compiles(): Promise<void> {
  const header = makeHeader(resolveSettings(), ['disk'])

  for await (const batch of chunker()) {
    t.ok(batch.sizes satisfies Uint32Array)
    // @ts-expect-error -- chunks have no digests yet
    t.ok(batch.digests)
  }
  for await (const batch of dedupFilter()) {
    for (const chunk of batch.chunks) if (chunk.kind === 'unique') t.ok(chunk.start satisfies number)
    // @ts-expect-error -- a filtered batch has no frames
    t.ok(batch.frames)
  }
  for await (const record of compressor()) {
    if (record.kind === 'blocks') t.ok(record.frames satisfies Uint8Array)
    // @ts-expect-error -- a compressor gives blocks and a dictionary
    t.ok(record.kind === 'chunks')
  }
  for await (const bytes of reader(await openSource('disk.img'))) {
    t.ok(bytes satisfies Uint8Array)
    // @ts-expect-error -- bytes are no records
    t.ok(bytes.kind)
  }

  // In pipelines of Node, alone and with others; the last one knows what it gets.
  await pipeline(createReadStream('disk.img'), chunker(), dedupFilter(), async (batches) => {
    for await (const batch of batches) {
      t.ok(batch satisfies FilteredBatch)
      // @ts-expect-error -- it is what the filter gives
      t.ok(batch.frames)
    }
  })
  const stages = inOrder(
    chunker(),
    dedupFilter(),
    dictionarySampler({ mode: 'auto' }),
    compressor({ codec: 'zstd' }),
    indexer({ header }),
    encryptor()
  )
  const target = sink(await openTarget('disk.st'))
  await pipeline(reader(await openSource('disk.img')), ...stages, target)

  // @ts-expect-error -- a compressor takes what was filtered
  inOrder(chunker(), compressor())
  // @ts-expect-error -- an indexer takes blocks
  inOrder(chunker(), dedupFilter(), indexer({ header }))
  // @ts-expect-error -- the filter comes before the sampler
  inOrder(chunker(), dictionarySampler(), dedupFilter())
  // @ts-expect-error -- bytes are what a reader gives
  inOrder(reader(await openSource('disk.img')), dedupFilter())
  // @ts-expect-error -- a sink takes the records of a snapshot
  inOrder(chunker(), sink(await openTarget('disk.st')))
  inOrder(reader(await openSource('disk.img')), chunker(), dedupFilter())
  inOrder(indexer({ header }), encryptor(), target)

  for await (const batch of chain([chunker.asFunction(), dedupFilter.asFunction()])) {
    t.ok(batch satisfies FilteredBatch)
    // @ts-expect-error -- it is what the filter gives
    t.ok(batch.frames)
  }
  chain([chunker(), dedupFilter()])
  // @ts-expect-error -- the same in stream-chain
  chain([chunker.asFunction(), compressor.asFunction()])

  const web = chunker.asWebStream().readable.pipeThrough(dedupFilter.asWebStream())
  t.ok(web satisfies ReadableStream<FilteredBatch>)
  // @ts-expect-error -- and among web streams
  chunker.asWebStream().readable.pipeThrough(compressor.asWebStream())

  // @ts-expect-error -- no such codec
  compressor({ codec: 'brotli' })
  // @ts-expect-error -- no such option
  encryptor({ passphrase: 'secret' })
  chunker().pipe(dedupFilter()).pipe(createWriteStream('x'))
}

t.equal(typeof compiles, 'function')
