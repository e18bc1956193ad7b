import { createCipheriv, scryptSync } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { encodeIndexBytes } from '../../lib/compression/codecs.js'
import { makeSealing, sealFooter, sealFrame, type Sealing } from '../../lib/crypto/sealing.js'
import { slotContext } from '../../lib/crypto/slots.js'
import { writeFields } from '../../lib/format/bytes.js'
import { blake3 } from '../../lib/format/digest.js'
import { digestSnapshot, encodeFooter, encodeFooterBody, footerSize } from '../../lib/format/footer.js'
import { encodeFrame, sealOverhead, type CodecName, type FrameFields } from '../../lib/format/frame.js'
import { encodeIndexPage } from '../../lib/format/index-page.js'
import { encodeIndexRoot } from '../../lib/format/index-root.js'
import { encodeKeySlot } from '../../lib/format/key-slots.js'
import { formatLimits } from '../../lib/limits.js'
import { encodeAnyHeader } from './header.js'
import {
  applyPatches,
  rawSizeOf,
  type Block,
  type Model,
  type MutableEntry,
  type MutableRoot,
  type Page,
  type Part
} from './model.js'

const { streamSizeMax } = formatLimits

/** Of every encrypted sample. */
export const fuzzPassphrase = 'fuzz'
export const cheapCost = { logN: 10, r: 1, p: 1 } as const
const salt = Buffer.alloc(32, 's')
const slotNonce = Buffer.alloc(12, 'n')
const wrapping = scryptSync(fuzzPassphrase, salt, 32, {
  N: 2 ** cheapCost.logN,
  r: cheapCost.r,
  p: cheapCost.p
})

/** One slot that the passphrase opens. */
export function passphraseSlot(key: Uint8Array, headerDigest: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', wrapping, slotNonce)
  cipher.setAAD(Buffer.concat([slotContext, headerDigest]))
  const wrappedKey = Buffer.concat([cipher.update(key), cipher.final()])
  const tag = cipher.getAuthTag()
  return encodeKeySlot({ type: 'passphrase', ...cheapCost, salt, nonce: slotNonce, wrappedKey, tag })
}

/** CRC-32 of all bytes before it, in the last four. */
export function fixChecksum(bytes: Uint8Array): void {
  const end = bytes.length - 4
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(end, crc32(bytes.subarray(0, end)), true)
}
function fixFrame(frame: Uint8Array): void {
  if (frame.length >= 4)
    new DataView(frame.buffer, frame.byteOffset).setUint32(0, crc32(frame.subarray(4)), true)
}

/** The file that a model stands for, with all that was forged in it. */
export async function encode(model: Model): Promise<Buffer> {
  const first = await layOut(model)
  // A repeat of what lies further on has its place only now.
  return first.isSettled ? first.file : (await layOut(model)).file
}

async function layOut(model: Model): Promise<{ file: Buffer; isSettled: boolean }> {
  const header = encodeAnyHeader(model.header)
  applyPatches(header, model.headerPatches)
  fixChecksum(header)
  const { key } = model
  const sealing = key === undefined ? undefined : makeSealing(key, header)
  const pieces: Uint8Array[] = [header]
  if (key !== undefined) pieces.push(slotArea(model, key, blake3(header)))
  let offset = pieces.reduce((sum, { length }) => sum + length, 0)
  const put = (frame: Uint8Array, how: Part['sealing']): { offset: number; size: number } => {
    const bytes = sealed(frame, offset, sealing, how)
    pieces.push(bytes)
    offset += bytes.length
    return { offset: offset - bytes.length, size: bytes.length }
  }

  const root: MutableRoot = {
    streams: model.header.streams.map((name) => ({
      ...{ name, size: 0, blockCount: 0, repeatCount: 0, holeCount: 0 },
      ...{ blockRawSize: 0, blockStoredSize: 0, repeatSize: 0, holeSize: 0 }
    })),
    dictionary: undefined,
    pages: []
  }
  let entries: MutableEntry[] = []
  let isSettled = true
  for (const part of model.parts) {
    if (part.kind === 'page') {
      await putPage(part, entries, root, put)
      entries = []
      continue
    }
    if (part.kind === 'repeat' && part.of.some(({ at }) => at === undefined)) isSettled = false
    const frame = frameOf(part)
    applyPatches(frame, part.patches)
    fixFrame(frame)
    part.at = put(frame, part.sealing)
    entries.push(...entriesOf(part))
    if (part.kind === 'dictionary')
      root.dictionary ??= {
        handle: part.at,
        rawSize: part.plain.length,
        digest: blake3(part.plain),
        sampleCount: 0,
        gain: 0
      }
  }
  for (const stream of root.streams)
    for (const name of ['size', 'repeatSize', 'holeSize'] as const)
      stream[name] = Math.min(stream[name], streamSizeMax)
  for (const edit of model.rootEdits) edit(root, offset)
  const bare = encodeIndexRoot(root)
  const plain = Buffer.concat([
    bare.subarray(0, -4),
    writeFields(4).u32(model.extension.length).done(),
    model.extension
  ])
  applyPatches(plain, model.rootPatches)
  const frame = await indexFrame(plain, model.rootCodec, model.rootStored, { type: 'root' })
  applyPatches(frame, model.rootFramePatches)
  fixFrame(frame)
  const handle = put(frame, 'once')
  const body = encodeFooterBody({
    root: handle,
    fileSize: offset + footerSize,
    snapshotDigest: digestSnapshot(header, plain)
  })
  applyPatches(body, model.footerPatches)
  const footer = sealing === undefined ? encodeFooter(body) : sealFooter(sealing, body, offset)
  applyPatches(footer, model.footerTailPatches)
  fixChecksum(footer.subarray(0, footerSize - 8))
  return { file: Buffer.concat([...pieces, footer]), isSettled }
}

function slotArea(model: Model, key: Uint8Array, headerDigest: Uint8Array): Buffer {
  const area = Buffer.alloc(formatLimits.keySlotCount * formatLimits.keySlotSize)
  area.set(passphraseSlot(key, headerDigest))
  for (const edit of model.slotEdits) edit(area, headerDigest)
  return area
}

function sealed(
  frame: Uint8Array,
  offset: number,
  sealing: Sealing | undefined,
  how: Part['sealing']
): Uint8Array {
  if (sealing === undefined || how === 'none') return frame
  const inner = how === 'twice' ? sealed(frame, offset, sealing, 'once') : frame
  const target = new Uint8Array(inner.length + sealOverhead)
  sealFrame(sealing, inner, offset, target)
  return target
}

function frameOf(part: Exclude<Part, Page>): Uint8Array {
  const { stream } = part
  switch (part.kind) {
    case 'block': {
      const { codec, usesDictionary, rawSize, start, stored } = part
      const payload = Buffer.concat([writeFields(8).u64(start).done(), stored])
      return encodeFrame(payload, { type: 'block', stream, codec, usesDictionary, rawSize })
    }
    case 'repeat': {
      const fields = writeFields(part.of.length * 6)
      for (const { at } of part.of) fields.u48(at?.offset ?? 0)
      const rawSize = rawSizeOf(part)
      return encodeFrame(fields.done(), { type: 'repeat', stream, rawSize: Math.min(rawSize, 2 ** 32 - 1) })
    }
    case 'hole':
      return encodeFrame(writeFields(8).u64(part.size).done(), { type: 'hole', stream })
    case 'dictionary':
      return encodeFrame(part.stored, { type: 'dictionary', codec: part.codec, rawSize: part.plain.length })
    case 'foreign': {
      const frame = encodeFrame(part.payload, { type: 'hole', stream })
      frame[4] = part.type
      return frame
    }
  }
}

/** What an index page says of a frame before it. */
function entriesOf(part: Exclude<Part, Page>): MutableEntry[] {
  const chunk = (kind: 'block' | 'repeat', block: Block, inner: number, size: number): MutableEntry => ({
    kind,
    rawSize: size,
    digest: blake3(block.plain.subarray(inner, inner + size)),
    blockOffset: block.at?.offset ?? 0,
    storedSize: block.at?.size ?? 0,
    innerOffset: inner
  })
  if (part.kind === 'hole') return [{ kind: 'hole', rawSize: part.size }]
  if (part.kind === 'repeat')
    return part.of.map((block) =>
      chunk('repeat', block, part.piece?.inner ?? 0, part.piece?.size ?? block.rawSize)
    )
  if (part.kind !== 'block') return []
  let inner = 0
  return part.chunks.map((size) => {
    inner += size
    return chunk('block', part, inner - size, size)
  })
}

const sizeNames = { block: 'blockRawSize', repeat: 'repeatSize', hole: 'holeSize' } as const

async function putPage(
  part: Page,
  entries: MutableEntry[],
  root: MutableRoot,
  put: (frame: Uint8Array, how: Part['sealing']) => { offset: number; size: number }
): Promise<void> {
  const stream = root.streams[part.stream] ?? root.streams[0]
  const page = { stream: part.stream, streamOffset: Math.min(stream?.size ?? 0, streamSizeMax) }
  for (const edit of part.entryEdits) edit(entries, page)
  for (const entry of entries) {
    if (stream === undefined) break
    stream.size += entry.rawSize
    stream[`${entry.kind}Count`] += 1
    stream[sizeNames[entry.kind]] += entry.rawSize
    if (entry.kind === 'block' && entry.innerOffset === 0) stream.blockStoredSize += entry.storedSize
  }
  const plain = encodeIndexPage({ ...page, entries })
  applyPatches(plain, part.plainPatches)
  const frame = await indexFrame(plain, part.codec, part.stored, { type: 'page', stream: part.stream })
  applyPatches(frame, part.patches)
  fixFrame(frame)
  part.at = put(frame, part.sealing)
  const ref = { ...page, entryCount: entries.length, handle: part.at, digest: blake3(plain) }
  for (const edit of part.refEdits) edit(ref)
  root.pages.push(ref)
}

async function indexFrame(
  plain: Uint8Array,
  wanted: 'raw' | 'zstd',
  forged: Uint8Array | undefined,
  fields: FrameFields
): Promise<Uint8Array> {
  let codec: CodecName = wanted
  let stored = forged ?? plain
  if (codec === 'zstd' && forged === undefined) ({ codec, stored } = await encodeIndexBytes(plain))
  return encodeFrame(stored, { ...fields, codec, rawSize: plain.length })
}
