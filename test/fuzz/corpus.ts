import { bindings } from '../../lib/compression/bindings.js'
import { createBlockDecoder, createBlockEncoder, decodeIndexBytes } from '../../lib/compression/codecs.js'
import { readFields } from '../../lib/format/bytes.js'
import { decodeRepeatPayload, decodeHolePayload } from '../../lib/format/frame.js'
import { decodeHeader, readHeaderSize } from '../../lib/format/header.js'
import { decodeIndexPage } from '../../lib/format/index-page.js'
import type { PipelineOptions } from '../../lib/build.js'
import { buildOfStages } from '../helpers/build.js'
import { phraseBytes, randomBytes, textBytes, zeroBytes } from '../helpers/data.js'
import { framesOf } from '../helpers/snapshots.js'
import { encode } from './encode.js'
import { formattedDictionary } from './fixtures.js'
import { common, isBlock, isPage, type Block, type Model, type Part } from './model.js'

/** A small valid snapshot, as a file and as its parts. */
export interface Sample {
  readonly name: string
  readonly file: Buffer
  readonly model: Model
  readonly isEncrypted: boolean
  /** Plain bytes of each stream. */
  readonly plain: readonly Buffer[]
}

const chunkSize = 512
const text = textBytes(2 * chunkSize, 1)
const noise = randomBytes(chunkSize, 2)
/** Text, zeros, noise, repeats of both, more zeros, and an end within a chunk. */
const mixed = Buffer.concat([
  text,
  zeroBytes(3 * chunkSize),
  noise,
  text,
  noise,
  zeroBytes(600),
  text.subarray(0, 99)
])
const aligned = Buffer.concat([
  text,
  zeroBytes(4 * chunkSize),
  noise,
  text,
  noise,
  noise,
  text.subarray(0, 300)
])
const empty = Buffer.alloc(0)

interface Recipe {
  readonly streams: readonly Buffer[]
  readonly options: PipelineOptions
  readonly dictionary?: Uint8Array
  readonly encrypted?: boolean
}
const recipes: Readonly<Record<string, Recipe>> = {
  generic: { streams: [aligned], options: { chunkSize } },
  embedded: { streams: [mixed, empty], options: { profile: 'embedded', chunkSize } },
  'raw, two streams': {
    streams: [aligned, Buffer.concat([noise, text])],
    options: { codec: 'raw', chunkSize }
  },
  'zstd, two streams': { streams: [mixed, aligned], options: { codec: 'zstd', level: 3, chunkSize } },
  'cdc, lz4': { streams: [mixed], options: { cdc: true, chunkSize } },
  'cdc, eda': { streams: [textBytes(6000, 3)], options: { profile: 'eda', cdc: true, chunkSize } },
  ml: { streams: [phraseBytes(3000, 4)], options: { profile: 'ml', chunkSize } },
  'raw dictionary': {
    streams: [phraseBytes(2500, 5)],
    options: { codec: 'zstd', level: 3, chunkSize },
    dictionary: phraseBytes(700, 6)
  },
  'formatted dictionary': {
    streams: [phraseBytes(2500, 7), text],
    options: { codec: 'zstd', level: 3, chunkSize },
    dictionary: formattedDictionary
  },
  'one hole': { streams: [zeroBytes(5000)], options: { chunkSize } },
  'many repeats': {
    streams: [Buffer.concat(Array.from({ length: 40 }, (_, i) => (i % 3 === 0 ? noise : text)))],
    options: { chunkSize }
  },
  empty: { streams: [empty], options: {} },
  'three empty': { streams: [empty, text, empty], options: { codec: 'zstd', chunkSize } },
  encrypted: { streams: [aligned], options: { chunkSize }, encrypted: true },
  'encrypted, zstd, two streams': {
    streams: [mixed, Buffer.concat([text, noise])],
    options: { codec: 'zstd', chunkSize },
    encrypted: true
  },
  'encrypted, dictionary': {
    streams: [phraseBytes(1500, 8)],
    options: { codec: 'zstd', chunkSize },
    dictionary: phraseBytes(600, 9),
    encrypted: true
  }
}

/** The same on every machine: nothing in it is drawn by lot, not even the data key. */
export async function makeCorpus(): Promise<Sample[]> {
  const samples: Sample[] = []
  for (const [name, { streams, options, dictionary, encrypted = false }] of Object.entries(recipes)) {
    const model = await modelOf(
      await buildOfStages(
        streams.map((bytes) => [bytes]),
        options
      )
    )
    if (dictionary !== undefined) useDictionary(model, dictionary)
    if (encrypted) {
      model.header.encrypted = true
      model.key = Buffer.alloc(32, name)
    }
    // Every other one has a plain index, in which a changed byte is a changed field.
    if (samples.length % 2 === 1) plainIndex(model)
    const file = await encode(model)
    samples.push({ name, file, model: copyModel(model), isEncrypted: encrypted, plain: streams })
  }
  return samples
}

/** To be changed; the plain bytes and payloads are never changed in place, and are shared. */
export function copyModel(model: Model): Model {
  const copies = new Map<Part, Part>()
  const copy = (part: Part): Part => {
    const known = copies.get(part)
    if (known !== undefined) return known
    const made: Part = { ...part, patches: [...part.patches] }
    delete made.at
    copies.set(part, made)
    if (made.kind === 'block') made.chunks = [...made.chunks]
    if (made.kind === 'repeat') made.of = made.of.map((block) => copy(block) as Block)
    if (made.kind === 'page') {
      made.entryEdits = [...made.entryEdits]
      made.plainPatches = [...made.plainPatches]
      made.refEdits = [...made.refEdits]
    }
    return made
  }
  return {
    ...model,
    header: { ...model.header, streams: [...model.header.streams] },
    headerPatches: [...model.headerPatches],
    slotEdits: [...model.slotEdits],
    parts: model.parts.map(copy),
    rootEdits: [...model.rootEdits],
    rootPatches: [...model.rootPatches],
    rootFramePatches: [...model.rootFramePatches],
    footerPatches: [...model.footerPatches],
    footerTailPatches: [...model.footerTailPatches]
  }
}

/** Takes a snapshot apart that is not encrypted. */
export async function modelOf(file: Buffer): Promise<Model> {
  const headerSize = readHeaderSize(file.subarray(0, 16), 'the sample')
  const header = decodeHeader(file.subarray(0, headerSize), 'the sample')
  const parts: Part[] = []
  const blocks = new Map<number, Block>()
  let rootCodec: 'raw' | 'zstd' = 'raw'
  let pageStart = 0
  const decode = createBlockDecoder()
  for (const { type, codec, stream, usesDictionary, rawSize, payload, offset, size } of framesOf(file)) {
    if (type === 'block') {
      const stored = payload.subarray(8)
      const plain = Buffer.from(decode(codec, stored, rawSize, usesDictionary))
      const start = readFields(payload, 'the sample').u64()
      const block: Block = {
        ...common(stream),
        ...{ kind: 'block', start, codec, usesDictionary, rawSize, stored, plain, chunks: [rawSize] },
        at: { offset, size }
      }
      parts.push(block)
      blocks.set(offset, block)
    } else if (type === 'repeat') {
      const of = decodeRepeatPayload(payload, 'the sample').flatMap((at) => blocks.get(at) ?? [])
      parts.push({ ...common(stream), kind: 'repeat', of })
    } else if (type === 'hole')
      parts.push({ ...common(stream), kind: 'hole', size: decodeHolePayload(payload, 'the sample') })
    else if (type === 'page') {
      const page = decodeIndexPage(await decodeIndexBytes(codec, payload, rawSize), 'the sample')
      shareBlocks(parts.slice(pageStart).filter(isBlock), page.entries)
      const none = { entryEdits: [], plainPatches: [], refEdits: [] }
      parts.push({ ...common(stream), kind: 'page', codec: codec === 'raw' ? 'raw' : 'zstd', ...none })
      pageStart = parts.length
    } else if (type === 'root') rootCodec = codec === 'raw' ? 'raw' : 'zstd'
    else throw new Error(`the sample has a ${type} frame`)
  }
  return {
    header: { ...header, streams: [...header.streams] },
    headerPatches: [],
    slotEdits: [],
    parts,
    rootCodec,
    rootEdits: [],
    rootPatches: [],
    rootFramePatches: [],
    extension: empty,
    footerPatches: [],
    footerTailPatches: []
  }
}

/** Chunks of each block, from the entries of its page. */
function shareBlocks(blocks: readonly Block[], entries: ReturnType<typeof decodeIndexPage>['entries']): void {
  for (const block of blocks)
    block.chunks = entries.flatMap((entry) =>
      entry.kind === 'block' && entry.blockOffset === block.at?.offset ? [entry.rawSize] : []
    )
}

function plainIndex(model: Model): void {
  model.rootCodec = 'raw'
  for (const page of model.parts.filter(isPage)) page.codec = 'raw'
}

/** Compresses all blocks of a model with a dictionary, where that makes them smaller. */
function useDictionary(model: Model, dictionary: Uint8Array): void {
  const encodeBlock = createBlockEncoder('zstd', 3, dictionary)
  for (const block of model.parts.filter(isBlock)) {
    const stored = encodeBlock(block.plain)
    if (stored === undefined) continue
    block.stored = Buffer.from(stored)
    block.codec = 'zstd'
    block.usesDictionary = true
  }
  const stored = new bindings.zstd.Encoder(3, null).encodeSync(Buffer.from(dictionary))
  model.parts.unshift({ ...common(0), kind: 'dictionary', codec: 'zstd', plain: dictionary, stored })
}
