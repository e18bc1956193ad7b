/**
 * Index pages, root and footer. Part of the independent reader
 * (../independent-reader.ts), written from docs/format.md alone; numbers in comments are its sections.
 */
import { crc32 } from 'node:zlib'
import { blake3 } from '@napi-rs/blake-hash'
import { Fields, MiB, must, offsetNonce, unseal } from './bytes.js'
import { plainOf } from './frames.js'
import type { Context, Frame } from './frames.js'

export const footerSize = 96

export interface Chunk {
  readonly kind: 'block' | 'repeat'
  readonly streamOffset: number
  readonly size: number
  readonly digest: Buffer
  readonly block: number
  readonly storedSize: number
  readonly inner: number
  /** All chunks of its block together, which are all of the block. */
  readonly all: { size: number }
}
interface Hole {
  readonly kind: 'hole'
  readonly streamOffset: number
  readonly size: number
}
export interface PageRef {
  readonly stream: number
  readonly streamOffset: number
  readonly entryCount: number
  readonly offset: number
  readonly size: number
  readonly digest: string
}

/** Section 6; `start` is where the frames begin that it describes, `end` the stream offset behind the last entry. */
export function parsePage(
  context: Context,
  frame: Frame,
  start: number
): { ref: PageRef; entries: (Chunk | Hole)[]; end: number } {
  const { framesOffset, encrypted } = context.header
  const plain = plainOf(frame)
  const f = new Fields(plain)
  const stream = f.uint(1)
  must(stream === frame.stream, 'stream of a page')
  f.take(3)
  const [n, c] = [f.uint(4), f.uint(4)]
  must(n >= 1 && n <= 4096 && c <= n, 'numbers of entries in a page')
  const streamOffset = f.u64()
  const digests = f.list(c, () => f.take(32))
  const kinds = f.list(n, () => f.uint(1))
  must(kinds.filter((kind) => kind < 2).length === c && kinds.every((kind) => kind <= 2), 'kinds in a page')
  const rawSizes = f.list(c, () => f.uint(4))
  const holeSizes = f.list(n - c, () => f.u64())
  const blockOffsets = f.list(c, () => f.uint(6))
  const storedSizes = f.list(c, () => f.uint(4))
  const inners = f.list(c, () => f.uint(4))
  f.end()
  const entries: (Chunk | Hole)[] = []
  let [end, blockEnd, k, ownEnd] = [streamOffset, 0, 0, 0]
  let before: Chunk | undefined
  for (const kind of kinds) {
    if (kind === 2) {
      const size = holeSizes[entries.length - k] ?? 0
      must(size >= 1, 'size of a hole')
      entries.push({ kind: 'hole', streamOffset: end, size })
      end += size
      before = undefined
    } else {
      const [size, storedSize, inner] = [rawSizes[k] ?? 0, storedSizes[k] ?? 0, inners[k] ?? 0]
      const [digest, difference] = [digests[k] ?? plain, blockOffsets[k] ?? 0]
      k++
      must(size >= 1 && inner + size <= 4 * MiB, 'size of a chunk')
      must(storedSize > (encrypted ? 56 : 24) && storedSize <= 4 * MiB + 56, 'size of a block')
      const block = (difference + blockEnd) % 2 ** 48
      blockEnd = block + storedSize
      must(block >= framesOffset && blockEnd <= frame.offset, 'place of a block')
      must(kind === 1 || block >= start, 'a block of another page')
      const shared = kind === 0 && before?.kind === 'block' && before.block === block ? before : undefined
      const all = shared?.all ?? { size: 0 }
      all.size += size
      const chunk: Chunk = {
        kind: kind === 0 ? 'block' : 'repeat',
        streamOffset: end,
        size,
        digest,
        block,
        storedSize,
        inner,
        all
      }
      must(inner === (shared ? shared.inner + shared.size : 0), 'innerOffset')
      must(!shared || shared.storedSize === storedSize, 'two sizes of one block')
      must(kind === 1 || shared !== undefined || block >= ownEnd, 'order of blocks')
      if (kind === 0) ownEnd = block + storedSize
      entries.push(chunk)
      end += size
      before = chunk
    }
    must(Number.isSafeInteger(end), 'size of a stream')
  }
  const { offset, size } = frame
  return {
    ref: { stream, streamOffset, entryCount: n, offset, size, digest: blake3(plain).toString('hex') },
    entries,
    end
  }
}

/** Section 7. */
export function parseRoot(context: Context, frame: Frame) {
  const { names, framesOffset } = context.header
  must(frame.type === 6, 'the root is no root')
  must(frame.stream === 0, 'stream of the root')
  const plain = plainOf(frame)
  const f = new Fields(plain)
  must(f.uint(1) === names.length, 'streams of the root')
  const streams = names.map((name) => {
    must(f.text(1, 64).equals(Buffer.from(name)), 'a name in the root')
    const [size, blocks, repeats, holes] = [f.u64(), f.u64(), f.u64(), f.u64()]
    const [blockRaw, blockStored, repeatSize, holeSize] = [f.u64(), f.u64(), f.u64(), f.u64()]
    must(size === blockRaw + repeatSize + holeSize, 'sizes of a stream')
    return { size, blocks, repeats, holes, blockRaw, blockStored, repeatSize, holeSize }
  })
  const hasDictionary = f.uint(1)
  must(hasDictionary <= 1, 'hasDictionary')
  const dictionary =
    hasDictionary === 0
      ? undefined
      : { offset: f.u64(), size: f.uint(4), rawSize: f.uint(4), digest: f.take(32) }
  if (dictionary) f.take(8)
  const pageCount = f.uint(4)
  must(pageCount <= 2 ** 20, 'number of pages')
  const pages = f.list(pageCount, (): PageRef => {
    const [stream, streamOffset, entryCount] = [f.uint(1), f.u64(), f.uint(4)]
    return {
      stream,
      streamOffset,
      entryCount,
      offset: f.u64(),
      size: f.uint(4),
      digest: f.take(32).toString('hex')
    }
  })
  f.take(f.uint(4))
  f.end()
  let end = framesOffset
  for (const page of pages) {
    must(page.stream < names.length, 'stream of a page')
    must(page.entryCount >= 1 && page.entryCount <= 4096, 'entries of a page')
    must(page.offset >= end && page.size > 16, 'place of a page')
    end = page.offset + page.size
  }
  must(end === frame.offset, 'something between the last page and the root')
  must(
    !dictionary || (dictionary.offset >= framesOffset && dictionary.offset + dictionary.size <= end),
    'place of the dictionary'
  )
  const ordered = streams.map(({ size }, stream) => {
    const own = pages.filter((page) => page.stream === stream)
    must(size === 0 ? own.length === 0 : own[0]?.streamOffset === 0, 'first page of a stream')
    const bounds = [...own.map((page) => page.streamOffset), size]
    must(
      bounds.every((bound, k) => k === 0 || bound > (bounds[k - 1] ?? 0) || size === 0),
      'order of pages'
    )
    return own.map((page, k) => ({ page, end: bounds[k + 1] ?? size }))
  })
  must(JSON.stringify(ordered.flat().map(({ page }) => page)) === JSON.stringify(pages), 'order of streams')
  return { plain, streams, dictionary, pages, ordered }
}

/** Section 8: of the footer at `at`, behind which nothing may lie. */
export function parseFooter(
  { file, seal }: Context,
  at: number
): { rootOffset: number; rootSize: number; digest: Buffer } {
  const bytes = file.subarray(at)
  const whole = bytes.length === footerSize && bytes.subarray(88).equals(Buffer.from('HEXZEND\n'))
  must(whole, 'no footer at the end', 'incomplete')
  must(crc32(bytes.subarray(0, 84)) === bytes.readUInt32LE(84), 'checksum of the footer')
  const tag = bytes.subarray(64, 80)
  must(seal !== undefined || tag.every((byte) => byte === 0), 'a tag without encryption')
  const none = Buffer.alloc(0)
  const f = new Fields(
    seal
      ? unseal(seal.key, offsetNonce(at), 'hexz 1 footer', seal.h, none, bytes.subarray(0, 64), tag)
      : bytes
  )
  const [rootOffset, rootSize] = [f.u64(), f.uint(4)]
  f.take(4)
  must(f.u64() === file.length && file.length < 2 ** 48, 'fileSize')
  must(rootSize <= 64 * MiB && rootOffset + rootSize === at, 'place of the root')
  return { rootOffset, rootSize, digest: f.take(32) }
}
export function snapshotDigest({ headerBytes }: Context, rootPlain: Buffer): Buffer {
  return blake3(Buffer.concat([Buffer.from('hexz snapshot 1\0'), headerBytes, rootPlain]))
}
