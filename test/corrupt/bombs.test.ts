import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCli, scratch } from '../helpers/run-cli.js'
import { bombs } from './bombs.js'
import { heldBy, heldMax, nodeOptions } from './peak.js'

/** Each bomb, given to each command as a real process: what it says, and the most memory that it held. */

/** What each thread beyond two may take. */
const threadMax = 32 * 2 ** 20

type Name = keyof typeof bombs

/** What a command says, with the name of the file and the path of the target in place of both. */
type Said = readonly [code: number, says: RegExp]

const incomplete: Said = [5, /^hexz: bomb\.st is incomplete: /]
const whole: Said = [0, /^bomb\.st: intact, /]
const shown: Said = [0, /^bomb\.st: snapshot, format 1\.0, /]
const effort: Said = [
  8,
  /^hexz: bomb\.st holds too many frames that decode to nothing new to search all of it$/m
]
const undecodable = (codec: string): Said => [
  5,
  new RegExp(
    `^hexz: bomb\\.st is damaged at byte \\d+: damaged: ${codec} bytes that should decode to 4194304 bytes do not decode$`,
    'm'
  )
]

/** In the order of `commands`. */
const commands = ['verify', 'inspect', 'extract', 'recover'] as const
const table: Record<Name, readonly [verify: Said, inspect: Said, extract: Said, recover: Said]> = {
  zstdBlocks: [undecodable('zstd'), shown, undecodable('zstd'), effort],
  lz4Blocks: [undecodable('lz4'), shown, undecodable('lz4'), effort],
  understatedBlocks: [
    [5, /the block there is not in the index$/m],
    shown,
    [5, /the block there holds 4194304 bytes, not the 512 of the index$/m],
    [5, /^hexz: nothing could be recovered from bomb\.st$/m]
  ],
  sharedBlock: [whole, shown, [0, /: 8 MiB of stream disk, /], [0, /everything: the snapshot is whole/]],
  rootOfPages: [
    [5, /page 0 lies outside the frames$/m],
    [5, /page 0 lies outside the frames$/m],
    [5, /page 0 lies outside the frames$/m],
    [5, /^hexz: nothing could be recovered from bomb\.st$/m]
  ],
  rootWithExtension: [whole, shown, [0, /: 0 B of stream disk, /], [0, /everything: the snapshot is whole/]],
  scattered: [incomplete, incomplete, incomplete, [0, /: recovered 9\.77 KiB \(10000 bytes\) of bomb\.st\n/]],
  tinyFrames: [whole, shown, [0, /: 512 B of stream disk, /], [0, /everything: the snapshot is whole/]],
  packedPages: [incomplete, incomplete, incomplete, effort],
  packedRoots: [incomplete, incomplete, incomplete, effort],
  repeats: [incomplete, incomplete, incomplete, effort],
  damagedRepeats: [incomplete, incomplete, incomplete, effort],
  dictionaries: [incomplete, incomplete, incomplete, effort],
  endlessHole: [
    whole,
    shown,
    [4, /can't be written: no space is left there$/m],
    [4, /no space is left there$/m]
  ]
}

/** Those that are tried with 16 threads, too: where each thread holds a block that grows. */
const manyThreads: readonly Name[] = ['zstdBlocks']

for (const [name, make] of Object.entries(bombs) as [Name, (typeof bombs)[Name]][]) {
  await t.test(name, async (t) => {
    const folder = scratch(t)
    const bytes = await make()
    writeFileSync(join(folder, 'bomb.st'), bytes)
    t.ok(bytes.length < 20 * 2 ** 20, `${bytes.length} bytes`)
    const isCut = table[name][0] === incomplete
    for (const [i, command] of commands.entries()) {
      // What was cut off is refused by its last bytes, whatever it holds; only a root takes memory to be shown.
      if (isCut && command !== 'recover') continue
      if (command === 'inspect' && !name.startsWith('root')) continue
      const hasThreads = command === 'verify' || command === 'extract'
      for (const threads of hasThreads ? (manyThreads.includes(name) ? [2, 16] : [2]) : [undefined]) {
        const args = [command, 'bomb.st']
        if (threads !== undefined) args.push('--concurrency', `${threads}`)
        if (command === 'extract' || command === 'recover') args.push('-f', '-o', 'out.img')
        const { code, stdout, stderr } = await runCli(args, { cwd: folder, nodeOptions })
        const [expectedCode, says] = table[name][i] ?? [0, /^$/]
        t.equal(code, expectedCode, `${args.join(' ')}: ${stderr}`)
        t.match(stdout.toString() + stderr, says)
        const held = heldBy(stderr)
        const max = heldMax + Math.max(0, (threads ?? 2) - 2) * threadMax
        t.ok(held < max, `${args.join(' ')} held ${Math.round(held / 2 ** 20)} MiB`)
      }
    }
  })
}
