import { decodeIndexBytes } from '../../lib/compression/codecs.js'
import { blake3 } from '../../lib/format/digest.js'
import { digestSnapshot, encodeFooter, encodeFooterBody, footerSize } from '../../lib/format/footer.js'
import { encodeFrame } from '../../lib/format/frame.js'
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
export function enclose(before: Buffer, header: Buffer, root: Uint8Array): Buffer {
  const rootFrame = encodeFrame(root, { type: 'root', rawSize: root.length })
  const fileSize = before.length + rootFrame.length + footerSize
  const footer = encodeFooterBody({
    root: { offset: before.length, size: rootFrame.length },
    fileSize,
    snapshotDigest: digestSnapshot(header, root)
  })
  return Buffer.concat([before, rootFrame, encodeFooter(footer)])
}
