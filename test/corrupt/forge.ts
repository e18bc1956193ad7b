import { crc32 } from 'node:zlib'
import { decodeIndexBytes } from '../../lib/compression/codecs.js'
import { blake3 } from '../../lib/format/digest.js'
import { writeFields } from '../../lib/format/bytes.js'
import { digestSnapshot, encodeFooter, encodeFooterBody, footerSize } from '../../lib/format/footer.js'
import { encodeFrame, type FrameFields } from '../../lib/format/frame.js'
import { encodeHeader } from '../../lib/format/header.js'
import { encodeIndexPage, type ChunkEntry, type IndexPage } from '../../lib/format/index-page.js'
import {
  encodeIndexRoot,
  type Handle,
  type IndexRootFields,
  type PageRef
} from '../../lib/format/index-root.js'
import { makeHeader, resolveSettings } from '../../lib/profiles.js'
import { framesOf } from '../helpers/snapshots.js'

/** Behind the reference to the only page, in a root: its extension's size. */
const extensionSize = 4
const pageRefSize = 57

/** A snapshot of one page, taken apart. Page and root are plain. */
export interface Parts {
  readonly header: Buffer
  readonly frames: Buffer
  readonly page: Uint8Array
  readonly root: Uint8Array
}

/** @param snapshot of one stream and one page */
export async function takeApart(snapshot: Buffer): Promise<Parts> {
  const frames = framesOf(snapshot)
  const [page, root] = frames.slice(-2)
  const start = frames[0]?.offset
  if (page?.type !== 'page' || root?.type !== 'root' || start === undefined)
    throw new Error('the snapshot does not have one page')
  return {
    header: snapshot.subarray(0, start),
    frames: snapshot.subarray(start, page.offset),
    page: await decodeIndexBytes(page.codec, page.payload, page.rawSize),
    root: await decodeIndexBytes(root.codec, root.payload, root.rawSize)
  }
}

/** Puts the parts together with checksums, digests and places that fit them. */
export function putTogether({ header, frames, page, root: unplaced }: Parts): Buffer {
  const root = Buffer.from(unplaced)
  const pageFrame = encodeFrame(page, { type: 'page', rawSize: page.length })
  const pageOffset = header.length + frames.length
  const ref = root.length - extensionSize - pageRefSize
  root.writeUInt32LE(pageOffset, ref + 13)
  root.writeUInt32LE(pageFrame.length, ref + 21)
  root.set(blake3(page), ref + 25)
  return enclose(Buffer.concat([header, frames, pageFrame]), header, root)
}

/** Everything before the root, the root, and a footer that fits. */
export function enclose(
  before: Buffer,
  header: Buffer,
  root: Uint8Array,
  { codec, stored }: { readonly codec: 'raw' | 'zstd'; readonly stored: Uint8Array } = {
    codec: 'raw',
    stored: root
  }
): Buffer {
  const rootFrame = encodeFrame(stored, { type: 'root', codec, rawSize: root.length })
  const fileSize = before.length + rootFrame.length + footerSize
  const footer = encodeFooterBody({
    root: { offset: before.length, size: rootFrame.length },
    fileSize,
    snapshotDigest: digestSnapshot(header, root)
  })
  return Buffer.concat([before, rootFrame, encodeFooter(footer)])
}

/** A snapshot written freely: frames, pages and a root that need not fit each other, with every checksum and digest right. */
export interface Forgery {
  /** Where the next frame will lie. */
  readonly offset: number
  readonly header: Buffer
  add(frame: Uint8Array): Handle
  /** @param frame of the page, where it is not the usual one */
  addPage(page: IndexPage, frame?: (plain: Uint8Array) => Uint8Array): Handle
  /** The bytes so far: a snapshot that was cut off. */
  cut(): Buffer
  /** With a root that fits the pages, unless it is changed, and a footer. */
  end(change?: (root: IndexRootFields) => IndexRootFields): Buffer
}

export function createForgery(streams: readonly string[] = ['disk']): Forgery {
  const header = Buffer.from(
    encodeHeader(makeHeader(resolveSettings({ codec: 'raw', chunkSize: 512 }), streams))
  )
  const pieces: Uint8Array[] = [header]
  const pages: PageRef[] = []
  const sizes = streams.map(() => 0)
  let offset = header.length
  const forgery: Forgery = {
    get offset() {
      return offset
    },
    header,
    add(frame) {
      const handle = { offset, size: frame.length }
      pieces.push(frame)
      offset += frame.length
      return handle
    },
    addPage(page, frame) {
      const plain = encodeIndexPage(page)
      const { stream, streamOffset, entries } = page
      const usual = (): Uint8Array => encodeFrame(plain, { type: 'page', stream, rawSize: plain.length })
      const handle = forgery.add((frame ?? usual)(plain))
      pages.push({ stream, streamOffset, entryCount: entries.length, handle, digest: blake3(plain) })
      sizes[stream] = entries.reduce((end, { rawSize }) => end + rawSize, streamOffset)
      return handle
    },
    cut: () => Buffer.concat(pieces),
    end(change = (root) => root) {
      const root = {
        streams: streams.map((name, number) => summary(name, sizes[number] ?? 0)),
        dictionary: undefined,
        pages
      }
      return enclose(Buffer.concat(pieces), header, encodeIndexRoot(change(root)))
    }
  }
  return forgery
}

function summary(name: string, size: number): IndexRootFields['streams'][number] {
  const none = {
    blockCount: 0,
    repeatCount: 0,
    holeCount: 0,
    blockRawSize: 0,
    blockStoredSize: 0,
    repeatSize: 0
  }
  return { name, size, ...none, holeSize: size }
}

export function blockFrame(
  streamOffset: number,
  stored: Uint8Array,
  fields: Partial<FrameFields> = {}
): Uint8Array {
  const payload = Buffer.concat([writeFields(8).u64(streamOffset).done(), stored])
  return encodeFrame(payload, { type: 'block', rawSize: stored.length, ...fields })
}

/** A frame of a type that readers pass over. */
export function skippableFrame(payload: Uint8Array): Uint8Array {
  const frame = Buffer.from(encodeFrame(payload, { type: 'dictionary' }))
  frame[4] = 0x80
  frame.writeUInt32LE(crc32(frame.subarray(4)))
  return frame
}

/** The entry of a chunk that is all of its block. */
export function chunkEntry(
  kind: ChunkEntry['kind'],
  raw: Uint8Array,
  { offset, size }: Handle,
  more: Partial<ChunkEntry> = {}
): ChunkEntry {
  const place = { blockOffset: offset, storedSize: size, innerOffset: 0 }
  return { kind, rawSize: raw.length, digest: blake3(raw), ...place, ...more }
}

/**
 * A Zstd frame of blocks that each take 8 bytes and decode to `blockSize`: literals of one byte, and no sequence. Block
 * headers do not tell how much that is.
 */
export function zstdBomb(blockCount: number, blockSize = 128 * 1024): Buffer {
  const blocks = Array.from({ length: blockCount }, (_, i) => {
    const isLast = i === blockCount - 1 ? 1 : 0
    const block = Buffer.alloc(8)
    block.writeUIntLE((5 << 3) | (2 << 1) | isLast, 0, 3)
    block.writeUIntLE(1 | (3 << 2) | (blockSize * 16), 3, 3)
    block[6] = 0x41
    return block
  })
  return Buffer.concat([Buffer.from('28b52ffd0058', 'hex'), ...blocks])
}
