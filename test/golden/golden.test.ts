import t from 'tap'
import { profileNames } from '../../lib/profiles.js'
import { buildInMemory, buildOfStages } from '../helpers/build.js'
import { difference, sha256 } from '../helpers/bytes.js'
import { mixedBytes, randomBytes, repeatBytes, textBytes, zeroBytes } from '../helpers/data.js'
import { goldenOptions, readSample, tinySource } from '../helpers/samples.js'

/*
 * The bytes themselves: same source, settings and version give the same file. When they are meant to change,
 * `node dist/test/helpers/make-samples.js` writes the files anew; the digests below are changed by hand.
 */

await t.test('test data is the same on every machine', async (t) => {
  t.equal(sha256(randomBytes(10_000, 1)), '7b724c8f1c9cdcb690e6f435f848a722c451437f19e739ce21c7b211f14717fc')
  t.equal(sha256(textBytes(10_000, 1)), 'fb87ba0b9506f442c11ba3e0a5995950ae6466fbc26a826ac021a61c0d490e21')
  t.equal(sha256(mixedBytes(100_000, 1)), 'c1cda6be2bb40ce5a4b1d04b945218368663d18443d57cc5a5634a1ad2831b15')
  t.equal(repeatBytes(Buffer.from('ab'), 3).toString(), 'ababab')
  t.equal(zeroBytes(3).toString('hex'), '000000')
  t.equal(difference(await readSample('golden/tiny.bin'), tinySource()), 'equal')
})

for (const [name, options] of Object.entries(goldenOptions))
  await t.test(`${name}.st comes out byte for byte, with one thread and with eight`, async (t) => {
    const [source, expected] = [await readSample('golden/tiny.bin'), await readSample(`golden/${name}.st`)]
    for (const concurrency of [1, 8]) {
      const { file } = await buildInMemory([[source]], { ...options, concurrency })
      t.equal(difference(file, expected), 'equal', `concurrency ${concurrency}`)
    }
  })

const digests: Record<string, string> = {
  generic: '743c3126d88f63e0733679602a8458729248bdb7d41384c28576cd2e2d7cd491',
  'generic cdc': '4937e9e1a071cd99b00dad9822118abfc950cc00a8af401e281c94d2e87baefc',
  eda: '99131ade305c131bb32b83895495072533b1e746cd1ea53f86158b87bbe2b25c',
  'eda cdc': 'a0c41e4172e72cc7ed7e5a00ee005d5440447b73e62fa9799d71412459b21d9f',
  embedded: '7d0959fc14dbdff979b12ab3fb7405c65703d7833e8b548b19e0e06ae969d74a',
  'embedded cdc': '724d38d5123e54db0398d78149862fa4ddc24952bb96f461774eb274f4920d2d',
  ml: '53fc352c68f9de52c60478f4a95e2d86b2350ec80421c27a07dd950214e0ee53',
  'ml cdc': '1c9f9b16478d23c7c394772d64a36f168f0d39826e6d80195a8b243b6b301d43'
}

await t.test('every profile gives the bytes it always gave', async (t) => {
  const streams = [
    [mixedBytes(1_500_000, 21, 32_768)],
    [textBytes(300_000, 22), mixedBytes(200_000, 21, 32_768)]
  ]
  const found: Record<string, string> = {}
  for (const profile of profileNames)
    for (const cdc of [false, true])
      found[`${profile}${cdc ? ' cdc' : ''}`] = sha256(await buildOfStages(streams, { profile, cdc }))
  t.strictSame(found, digests)
})
