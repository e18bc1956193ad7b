import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { build, openSnapshot } from '../../lib/index.js'
import { cheapScrypt } from '../crypto/sealed.js'
import { randomBytes, textBytes } from '../helpers/data.js'
import { failsWith, finished, scratch, startCli } from '../helpers/run-cli.js'
import { hexz, onTerminal, skipTerminal, type Answer } from '../helpers/terminal.js'

const disk = Buffer.concat([textBytes(50_000, 1), randomBytes(20_000, 2)])
const [first, second] = ['secret-4711', 'other-0815']

/** A folder with a source, and a snapshot that opens with the first passphrase in no time. */
async function setUp(t: Test): Promise<{ cwd: string; at: (name: string) => string }> {
  const cwd = scratch(t)
  const at = (name: string): string => join(cwd, name)
  writeFileSync(at('disk.img'), disk)
  const locks = { passphrase: first, scrypt: cheapScrypt }
  await build({ source: at('disk.img'), target: at('t.st'), concurrency: 1, locks })
  return { cwd, at }
}

await t.test('prompts', { skip: skipTerminal }, async (t) => {
  const { cwd, at } = await setUp(t)
  const ask = async (
    command: string,
    ...answers: readonly Answer[]
  ): Promise<{ code: number | null; shown: string }> => {
    const result = await onTerminal(cwd, command, answers)
    for (const secret of ['secret', '4711', 'other-', '0815'])
      t.notOk(result.shown.includes(secret), `${command}: shows no ${secret}`)
    return result
  }

  await t.test(
    'a new passphrase is asked for twice, when the image comes on standard input, too',
    async (t) => {
      const words = `cat disk.img | ${hexz} build - -e -o n.st --progress none`
      const built = await ask(words, `${first}\r`, `${first}\r`)
      t.equal(built.code, 0, built.shown)
      t.match(built.shown, /^New passphrase: \r\nAgain: \r\nhexz: n\.st: /)
      const opened = await openSnapshot(at('n.st'), { passphrase: first })
      t.ok((await opened.read('disk', 0, disk.length)).equals(disk))
      await opened.close()

      const pairs = [first, second, first, second, first, second].map((text) => `${text}\r`)
      const differ = await ask(`${hexz} build disk.img -e -o u.st`, ...pairs)
      t.equal(differ.code, 6)
      t.match(
        differ.shown,
        /^(New passphrase: \r\nAgain: \r\n(The two differ\. Once more\.\r\n)?){3}hexz: the two passphrases differ; nothing was done\r\n$/
      )
      t.notOk(existsSync(at('u.st')))

      const mistyped = [second, first, first, first].map((text) => `${text}\r`)
      const again = await ask(`${hexz} build disk.img -e -o u.st --progress none`, ...mistyped)
      t.equal(again.code, 0, again.shown)
      await (await openSnapshot(at('u.st'), { passphrase: first })).close()
    }
  )

  await t.test('one paste answers all prompts, and shows nothing', async (t) => {
    copyFileSync(at('t.st'), at('p.st'))
    const added = await ask(`${hexz} key add p.st`, `${first}\r\n${second}\r\n${second}\n`)
    t.equal(added.code, 0, added.shown)
    t.equal(added.shown, 'Passphrase: \r\nNew passphrase: \r\nAgain: \r\nhexz: p.st: key added in slot 1\r\n')
    await (await openSnapshot(at('p.st'), { passphrase: second })).close()
  })

  await t.test('keys that edit: a whole character back, a whole line back', async (t) => {
    const typed = `nonsense\u0015${first.slice(0, 6)}\u{1f600}\u007f${first.slice(6)}\u00e9\b\u{20bb7}\u007f\u0004`
    const { code, shown } = await ask(`${hexz} extract t.st -o back.img --progress none`, typed)
    t.equal(code, 0, shown)
    t.match(shown, /^Passphrase: \r\nhexz: back\.img: /)
    t.ok(readFileSync(at('back.img')).equals(disk))
  })

  await t.test('an empty passphrase, a wrong one, and one without end', async (t) => {
    const { code, shown } = await ask(
      `${hexz} verify t.st; echo "code $?"; ${hexz} verify t.st; echo "code $?"; ${hexz} verify t.st`,
      '\r',
      `${second}\r`,
      'x'.repeat(4097)
    )
    t.equal(code, 8)
    t.equal(
      shown,
      [
        'Passphrase: ',
        'hexz: the passphrase is empty; give one of at least one character',
        'code 6',
        'Passphrase: ',
        'hexz: the passphrase is wrong: no key slot of t.st opens with it',
        'code 6',
        'Passphrase: ',
        'hexz: a passphrase that is typed has at most 4096 bytes',
        ''
      ].join('\r\n')
    )
  })

  await t.test('what is no text in UTF-8 is refused', async (t) => {
    const latin1 = Buffer.from('caf\u00e9\r', 'latin1')
    const { code, shown } = await ask(`${hexz} build disk.img -e -o no.st`, latin1)
    t.equal(code, 6)
    t.equal(shown, 'New passphrase: \r\nhexz: the passphrase that was typed is not text in UTF-8\r\n')
    t.notOk(existsSync(at('no.st')))
    const asked = await ask(`LANG=C LC_ALL=C ${hexz} verify t.st`, latin1)
    t.strictSame(
      [asked.code, asked.shown],
      [6, 'Passphrase: \r\nhexz: the passphrase that was typed is not text in UTF-8\r\n']
    )
    // A character comes back whole, also one that is not text; and the rest is.
    const edited = Buffer.concat([Buffer.from(`\u{1f600}\u007f${first}`), Buffer.from([0xe9, 0x7f, 0x0d])])
    const { code: ok, shown: said } = await ask(`LANG=C LC_ALL=C ${hexz} verify t.st`, edited)
    t.equal(ok, 0, said)
  })

  /** A command between two prints of all settings of the terminal. */
  const between = (command: string): string => `stty -g; ${command}; echo "code $?"; stty -g`
  /** What was shown in between; fails unless the settings are the same before and after. */
  const inBetween = (t: Test, shown: string): string => {
    const lines = shown.split('\r\n')
    t.match(lines[0], /^[0-9a-f]+:[0-9a-f]+:/)
    t.equal(lines.at(-2), lines[0], 'the terminal is as it was')
    return lines.slice(1, -2).join('\n')
  }

  await t.test('Ctrl-C at a prompt: the terminal is as it was, the end is that of a signal', async (t) => {
    for (const keys of ['\u0003', `${first}\u0003\r`]) {
      const { shown } = await ask(between(`${hexz} extract t.st -o never.img`), keys)
      t.equal(inBetween(t, shown), 'Passphrase: \nhexz: stopped by SIGINT before it was done\ncode 130')
    }
    const { shown } = await ask(between(`${hexz} build disk.img -e -o never.img`), `${first}\r`, '\u0003')
    t.equal(
      inBetween(t, shown),
      'New passphrase: \nAgain: \nhexz: stopped by SIGINT before it was done\ncode 130'
    )
    t.notOk(existsSync(at('never.img')))
  })

  await t.test('another signal at a prompt', async (t) => {
    const words = `sh -c 'echo $$ > pid; exec ${hexz.replaceAll("'", '"')} extract t.st -o never.img'`
    const { shown } = await ask(between(words), () => {
      process.kill(Number(readFileSync(at('pid'), 'utf8')), 'SIGTERM')
    })
    t.match(
      inBetween(t, shown),
      /^Passphrase: \nhexz: stopped by SIGTERM before it was done\n(Terminated *\n)?code 143$/
    )
  })
})

await t.test('without a terminal a missing passphrase is told', async (t) => {
  const { cwd } = await setUp(t)
  failsWith(
    t,
    await finished(startCli(['verify', 't.st'], { cwd, isDetached: true })),
    {
      code: 6,
      message:
        'a passphrase is needed and there is no terminal to ask on; give --passphrase-file, --passphrase-fd or HEXZ_PASSPHRASE'
    },
    'no terminal'
  )
})
