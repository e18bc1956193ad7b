import t from 'tap'
import {
  decodeClientFlags,
  decodeInfoRequest,
  decodeMetaContextRequest,
  decodeOptionHeader,
  decodeRequest,
  encodeBlockSizeInfo,
  encodeBlockStatus,
  encodeDataHeader,
  encodeError,
  encodeExportInfo,
  encodeExportNameReply,
  encodeGreeting,
  encodeHole,
  encodeMetaContext,
  encodeNone,
  encodeOptionReply,
  encodeServerReply,
  encodeSimpleReply,
  encodeTextInfo
} from '../../lib/nbd/protocol.js'
import { requestBytes, u16, u32 } from '../helpers/nbd-client.js'

const big = 0x1f_ffff_ffff_f000 // below 2^53

await t.test('messages have exactly the bytes of the protocol', (t) => {
  const cases: readonly (readonly [name: string, found: Uint8Array, expected: string])[] = [
    ['greeting', encodeGreeting(), '4e42444d41474943 49484156454f5054 0003'],
    ['acknowledgement', encodeOptionReply(7, 1), '0003e889045565a9 00000007 00000001 00000000'],
    [
      'refusal',
      encodeOptionReply(5, 0x80000001, Buffer.from('no')),
      '0003e889045565a9 00000005 80000001 00000002 6e6f'
    ],
    [
      'export in a list',
      encodeServerReply(3, 'disk'),
      '0003e889045565a9 00000003 00000002 00000008 00000004 6469736b'
    ],
    [
      'size and flags',
      encodeExportInfo(7, big, 0x183),
      '0003e889045565a9 00000007 00000003 0000000c 0000 001ffffffffff000 0183'
    ],
    ['name', encodeTextInfo(6, 1, 'disk'), '0003e889045565a9 00000006 00000003 00000006 0001 6469736b'],
    [
      'block sizes',
      encodeBlockSizeInfo(7, [1, 4096, 32 * 2 ** 20]),
      '0003e889045565a9 00000007 00000003 0000000e 0003 00000001 00001000 02000000'
    ],
    [
      'context',
      encodeMetaContext(10, 1),
      `0003e889045565a9 0000000a 00000004 00000013 00000001 ${Buffer.from('base:allocation').toString('hex')}`
    ],
    ['export chosen by name', encodeExportNameReply(512, 3, true), '0000000000000200 0003'],
    ['the same, zeros', encodeExportNameReply(512, 3, false), `0000000000000200 0003 ${'00'.repeat(124)}`],
    ['simple reply', encodeSimpleReply(0xfedcba9876543210n), '67446698 00000000 fedcba9876543210'],
    ['simple error', encodeSimpleReply(2n, 'EPERM'), '67446698 00000001 0000000000000002'],
    ['none', encodeNone(3n), '668e33ef 0001 0000 0000000000000003 00000000'],
    [
      'data',
      encodeDataHeader({ cookie: 3n, isLast: false }, big, 4096),
      '668e33ef 0000 0001 0000000000000003 00001008 001ffffffffff000'
    ],
    [
      'hole',
      encodeHole({ cookie: 3n, isLast: true }, 2 ** 32, 0xffffffff),
      '668e33ef 0001 0002 0000000000000003 0000000c 0000000100000000 ffffffff'
    ],
    [
      'error',
      encodeError({ cookie: 3n, isLast: true }, 'EINVAL', 'no'),
      '668e33ef 0001 8001 0000000000000003 00000008 00000016 0002 6e6f'
    ],
    [
      'error with offset',
      encodeError({ cookie: 3n, isLast: false }, 'EIO', 'no', 4096),
      '668e33ef 0000 8002 0000000000000003 00000010 00000005 0002 6e6f 0000000000001000'
    ],
    [
      'block status',
      encodeBlockStatus(3n, [
        { size: 4096, state: 0 },
        { size: 512, state: 3 }
      ]),
      '668e33ef 0001 0005 0000000000000003 00000014 00000001 00001000 00000000 00000200 00000003'
    ]
  ]
  for (const [name, found, expected] of cases)
    t.equal(Buffer.from(found).toString('hex'), expected.replaceAll(' ', ''), name)
  t.equal(encodeError({ cookie: 1n, isLast: true }, 'EIO', 'x'.repeat(5000)).length, 20 + 6 + 1024)
  t.end()
})

await t.test('what clients send', (t) => {
  t.same(decodeClientFlags(u32(1)), { noZeroes: false })
  t.same(decodeClientFlags(u32(3)), { noZeroes: true })
  for (const flags of [4, 8, 0x80000001]) t.equal(decodeClientFlags(u32(flags)), undefined, `flags ${flags}`)
  t.same(decodeOptionHeader(Buffer.from('IHAVEOPT\0\0\0\x07\xff\0\0\0', 'latin1')), {
    option: 7,
    size: 0xff000000
  })
  t.equal(decodeOptionHeader(Buffer.from('IHAVEOPt\0\0\0\x07\0\0\0\0')), undefined)
  t.same(decodeRequest(requestBytes({ type: 7, flags: 8, cookie: 5, offset: big, length: 9 })), {
    type: 7,
    flags: 8,
    cookie: 5n,
    offset: big,
    length: 9
  })
  t.equal(decodeRequest(requestBytes({ offset: 2n ** 53n }))?.offset, Infinity)
  t.equal(decodeRequest(requestBytes({ offset: 2n ** 64n - 1n }))?.offset, Infinity)
  t.equal(decodeRequest(Buffer.alloc(28)), undefined)
  t.end()
})

await t.test('data of options, and every wrong length in them', (t) => {
  const info = Buffer.concat([u32(4), Buffer.from('disk'), u16(2), u16(1), u16(3)])
  t.same(decodeInfoRequest(info), { name: 'disk', types: [1, 3] })
  t.same(decodeInfoRequest(Buffer.concat([u32(0), u16(0)])), { name: '', types: [] })
  const query = Buffer.from('base:')
  const meta = Buffer.concat([u32(4), Buffer.from('disk'), u32(2), u32(5), query, u32(0)])
  t.same(decodeMetaContextRequest(meta), { name: 'disk', queries: ['base:', ''] })
  for (const [decode, whole] of [
    [decodeInfoRequest, info],
    [decodeMetaContextRequest, meta]
  ] as const) {
    for (let size = 0; size < whole.length; size++)
      t.equal(decode(whole.subarray(0, size)), undefined, `cut at ${size}`)
    t.equal(decode(Buffer.concat([whole, Buffer.from('x')])), undefined, 'one byte too many')
    const long = Buffer.from(whole)
    long.writeUInt32BE(0xffffffff, 0)
    t.equal(decode(long), undefined, 'a name longer than everything')
  }
  const many = Buffer.from(meta)
  many.writeUInt32BE(0xffffffff, 8)
  t.equal(decodeMetaContextRequest(many), undefined, 'more queries than bytes')
  t.end()
})
