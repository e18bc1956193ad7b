import { clientFlags, goData, optionBytes, requestBytes, u16, u32 } from '../../helpers/nbd-client.js'
import { mutate } from '../mutate.js'
import { hostileNumber, randomOf, type Random } from '../random.js'
import { serveSample, talk, type Served } from '../served.js'
import type { Target } from '../target.js'

interface Request {
  readonly type: number
  readonly offset: number
  readonly length: number
}

/** Dialogues with the NBD server: proper ones, ones with odd numbers, and ones that are damaged. */
export function nbdTarget(): Target {
  let served: Promise<Served> | undefined
  return {
    name: 'nbd server',
    share: 20,
    make(words, keep) {
      const random = randomOf(...words)
      const story: string[] = []
      const pieces: Buffer[] = [random.chance(97) ? clientFlags : random.bytes(4)]
      for (let left = random.below(4); left > 0; left--) pieces.push(anyOption(random, story))
      const isGo = random.chance(80)
      if (isGo) pieces.push(optionBytes(8), optionBytes(7, goData(random.chance(95) ? '' : 'disk')))
      const requests: Request[] = []
      for (let left = random.below(12); isGo && left > 0; left--) {
        const type = random.chance(70) ? 0 : random.below(9)
        const offset = random.chance(70) ? random.below(300_001) : hostileNumber(random, 300_001)
        const length = random.chance(80) ? random.below(20_000) : hostileNumber(random, 131_072, 2 ** 32 - 1)
        const isWrite = type === 1
        pieces.push(
          requestBytes({
            type,
            offset,
            length: isWrite ? 4 : length,
            cookie: requests.length,
            flags: random.chance(90) ? 0 : random.below(65_536)
          })
        )
        if (isWrite) pieces.push(Buffer.alloc(4))
        requests.push({ type, offset, length })
        story.push(`request ${type} of ${length} at ${offset}`)
      }
      pieces.push(requestBytes({ type: 2, cookie: 999 }))
      let said: Buffer = Buffer.concat(pieces)
      const isProper = random.chance(60) || !keep(0)
      if (!isProper) {
        const done = mutate(said, random)
        said = done.bytes
        story.push(done.told)
      }
      const pieceSize = random.chance(80) ? said.length : 1 + random.below(40)
      return Promise.resolve({
        bytes: said,
        story,
        async check(report) {
          const { nbdPath, disk, takeProblems } = await (served ??= serveSample())
          const heard = await talk(nbdPath, said, { pieceSize })
          if (heard === undefined) report('the connection stays open', '')
          else {
            const wrong = isProper ? problemOf(heard, requests, disk) : undefined
            if (wrong !== undefined) report(`a wrong answer: ${wrong}`, '')
          }
          for (const problem of takeProblems()) report('the server has a problem', problem)
          return undefined
        }
      })
    },
    async close() {
      await (await served)?.close()
    }
  }
}

function anyOption(random: Random, story: string[]): Buffer {
  const type = random.pick([3, 5, 6, 8, 9, 10, 11, 99, 2 ** 32 - 1])
  const name = random.pick(['', 'disk', 'other', 'x'.repeat(300), '\0'])
  const context = random.pick(['base:allocation', 'base:', 'other:thing', ''])
  const meta = Buffer.concat([
    ...[u32(random.chance(90) ? name.length : random.below(2 ** 32)), Buffer.from(name)],
    ...[u32(random.chance(90) ? 1 : random.below(2 ** 32)), u32(context.length), Buffer.from(context)]
  ])
  const info = Buffer.concat([u32(name.length), Buffer.from(name), u16(1), u16(random.below(5))])
  const data =
    type === 9 || type === 10
      ? meta
      : type === 6
        ? info
        : random.chance(70)
          ? Buffer.alloc(0)
          : random.bytes(random.below(50))
  story.push(`option ${type} of ${data.length} bytes`)
  return optionBytes(type, random.chance(99) ? data : Buffer.alloc(random.pick([16_384, 16_385, 1_048_577])))
}

const [optionMagic, structuredMagic] = ['0003e889045565a9', 0x668e33ef]

/** Holds every answer to a read against the disk. What comes after a proper handshake is whole, or cut off. */
function problemOf(heard: Buffer, requests: readonly Request[], disk: Buffer): string | undefined {
  let at = 18
  while (heard.subarray(at, at + 8).toString('hex') === optionMagic) at += 20 + heard.readUInt32BE(at + 16)
  while (at < heard.length) {
    if (heard.length - at < 20) return 'an answer is cut off'
    if (heard.readUInt32BE(at) !== structuredMagic) return 'an answer without magic'
    const type = heard.readUInt16BE(at + 6)
    const cookie = Number(heard.readBigUInt64BE(at + 8))
    const size = heard.readUInt32BE(at + 16)
    const payload = heard.subarray(at + 20, at + 20 + size)
    if (payload.length < size) return 'an answer is cut off'
    const request = requests[cookie]
    if (request === undefined && cookie !== 999) return 'an answer to no request'
    if (request !== undefined && (type === 1 || type === 2)) {
      const offset = Number(payload.readBigUInt64BE(0))
      const found = type === 1 ? payload.subarray(8) : Buffer.alloc(payload.readUInt32BE(8))
      const isInside = offset >= request.offset && offset + found.length <= request.offset + request.length
      if (request.type !== 0 || !isInside) return 'bytes that nobody asked for'
      if (!found.equals(disk.subarray(offset, offset + found.length))) return 'other bytes'
    }
    at += 20 + size
  }
  return undefined
}
