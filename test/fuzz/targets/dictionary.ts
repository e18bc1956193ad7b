import { createBlockDecoder, createBlockEncoder } from '../../../lib/compression/codecs.js'
import { checkDictionary } from '../../../lib/compression/dictionary.js'
import { phraseBytes } from '../../helpers/data.js'
import { formattedDictionary } from '../fixtures.js'
import { randomOf } from '../random.js'
import type { Target } from '../target.js'
import { attempt } from '../verdict.js'

const plain = phraseBytes(900, 3)

/** Dictionaries in Zstandard's format: the codec, which ends the process over a bad one, gets none that it does not take. */
export function dictionaryTarget(): Target {
  const stored = createBlockEncoder('zstd', 3, formattedDictionary)(plain) ?? plain
  return {
    name: 'dictionary',
    share: 60,
    make(words, keep) {
      const random = randomOf(...words)
      const bytes = Buffer.from(formattedDictionary)
      const story: string[] = []
      const count = 1 + random.below(4)
      for (let step = 0; step < count; step++) {
        const at = 4 + random.below(random.chance(85) ? 180 : bytes.length - 4)
        const value = random.chance(50) ? random.below(256) : (bytes[at] ?? 0) ^ (1 << random.below(8))
        if (keep(step)) bytes[at] = value
        story.push(`${value} at ${at}`)
      }
      const dictionary = random.chance(80) ? bytes : bytes.subarray(0, random.below(bytes.length))
      return Promise.resolve({
        bytes: dictionary,
        story,
        async check(report) {
          const checked = await attempt(report, 'checkDictionary', () => checkDictionary(dictionary, 'd'))
          const made = await attempt(report, 'encoder', () =>
            createBlockEncoder('zstd', 1, dictionary)(plain)
          )
          const read = await attempt(report, 'decoder', () =>
            createBlockDecoder(dictionary)('zstd', stored, plain.length, true)
          )
          if (checked.isOk && !made.isOk) report('a dictionary passes that the encoder refuses', made.message)
          if (checked.isOk && made.isOk && made.value !== undefined) {
            const { value } = made
            const back = await attempt(report, 'decoder', () =>
              createBlockDecoder(dictionary)('zstd', value, plain.length, true)
            )
            if (!back.isOk || !plain.equals(back.value))
              report('bytes do not come back', back.isOk ? 'others do' : back.message)
          }
          return read.isOk && !checked.isOk && dictionary.length >= 8
            ? () => report('the decoder takes what the check refuses', '')
            : undefined
        }
      })
    }
  }
}
