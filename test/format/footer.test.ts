import t from 'tap'
import {
  decodeFooterBody,
  digestSnapshot,
  encodeFooter,
  encodeFooterBody,
  splitFooter,
  type Footer
} from '../../lib/format/footer.js'
import { hex, unhex } from '../helpers/bytes.js'
import { caught, flipEachBit } from '../helpers/errors.js'

const footer: Footer = {
  root: { offset: 1000, size: 200 },
  fileSize: 1296,
  snapshotDigest: new Uint8Array(32).fill(0xaa)
}
const footerBytes = encodeFooter(encodeFooterBody(footer))

await t.test('footer: exact bytes, and back', (t) => {
  t.equal(
    hex(footerBytes),
    hex(
      unhex(`e803000000000000 c8000000 00000000 1005000000000000
             ${'aa'.repeat(32)} 0000000000000000
             ${'00'.repeat(16)} 00000000 2f99ae54 4845585a454e440a`)
    )
  )
  const { body, tag } = splitFooter(footerBytes, 'x')
  t.strictSame(decodeFooterBody(body, 'x', 1296), footer)
  t.equal(hex(tag), '00'.repeat(16))
  t.equal(hex(splitFooter(encodeFooter(body, new Uint8Array(16).fill(7)), 'x').tag), '07'.repeat(16))
  t.end()
})

await t.test('footer: every flipped bit and every cut is noticed', (t) => {
  const incomplete =
    'CorruptError INCOMPLETE: x is incomplete: it does not end with a footer, because it was cut off or something was appended; hexz recover gets back what is whole'
  t.strictSame(
    flipEachBit(footerBytes, (damaged) => splitFooter(damaged, 'x')),
    ['CorruptError BAD_CHECKSUM: the footer of x is damaged: its checksum is wrong', incomplete]
  )
  const cuts = Array.from({ length: 96 }, (_, size) =>
    caught(() => splitFooter(footerBytes.subarray(96 - size), 'x'))
  )
  t.strictSame([...new Set(cuts)], [incomplete])
  t.end()
})

await t.test('footer: the root must end where the footer begins', (t) => {
  const decode = (root: Footer['root'], fileSize = 1296): string =>
    caught(() => decodeFooterBody(encodeFooterBody({ ...footer, root }), 'x', fileSize))
  t.equal(
    decode(footer.root, 1297),
    'CorruptError BAD_STRUCTURE: x is 1297 bytes long, but its footer says 1296: bytes were added or lost'
  )
  for (const root of [
    { offset: 1001, size: 200 },
    { offset: 999, size: 200 },
    { offset: 1000, size: 201 },
    { offset: Number.MAX_SAFE_INTEGER, size: 0xffffffff }
  ])
    t.equal(
      decode(root),
      `CorruptError BAD_STRUCTURE: the footer of x is damaged: its index root lies at ${root.offset}`
    )
  const huge = 64 * 1024 * 1024 + 1
  t.equal(
    caught(() =>
      decodeFooterBody(
        encodeFooterBody({ ...footer, root: { offset: 0, size: huge }, fileSize: huge + 96 }),
        'x',
        huge + 96
      )
    ),
    'CorruptError BAD_STRUCTURE: the footer of x is damaged: its index root lies at 0'
  )
  t.end()
})

await t.test('snapshot digest: BLAKE3 over a label, the header and the root', (t) => {
  t.equal(
    hex(digestSnapshot(Uint8Array.of(1), Uint8Array.of(2))),
    'bd3311b3861d61c3306a25f654504c2b8fd52e9418dcb47854c613d5b821cfe8'
  )
  t.end()
})
