import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { jsonText, printable, shown } from '../../lib/commands/printable.js'
import { phraseBytes, textBytes } from '../helpers/data.js'
import { eachOf, runCli, scratch } from '../helpers/run-cli.js'

await t.test('what a terminal would act on', (t) => {
  const cases: readonly (readonly [text: string, printed: string])[] = [
    ['plain, ü 東京 🙂', 'plain, ü 東京 🙂'],
    ['a\nb\r\t', 'a\\nb\\r\\t'],
    ['\u001b[2J\u0007', '\\u001b[2J\\u0007'],
    ['\u009b31m\u007f', '\\u009b31m\\u007f'],
    ['abc\u202etxt.exe\u2066', 'abc\\u202etxt.exe\\u2066'],
    ['\u2028\u2029\ufeff', '\\u2028\\u2029\\ufeff'],
    ['\ud83d', '\\ud83d']
  ]
  for (const [text, printed] of cases) {
    t.equal(printable(text), printed)
    t.equal(shown`<${text}> ${5}\n`, `<${printed}> 5\n`)
    t.equal((JSON.parse(jsonText({ text })) as { text: string }).text, text, 'JSON says the same')
    t.equal(jsonText({ text }), printable(jsonText({ text })), 'and is harmless')
  }
  t.equal(jsonText({ a: [1] }, 2), JSON.stringify({ a: [1] }, undefined, 2))
  t.end()
})

const name = 'two\nlines\u001b[31m\u009b'
const printed = 'two\\nlines\\u001b[31m\\u009b'

await t.test('names of files, on success', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, name), textBytes(5000, 1))
  writeFileSync(join(cwd, `${name}.tar`), phraseBytes(4 * 1024 * 1024, 2))
  const target = `${name}.st`
  const made = await runCli(['build', name, '-o', target], { cwd })
  t.match(made.stderr, `hexz: ${printed}.st: `)
  const copy = await runCli(['build', name, '-o', `${name}2.st`, '--json'], { cwd })
  t.equal((JSON.parse(copy.stdout.toString()) as { target: string }).target, `${name}2.st`)
  const lines: readonly (readonly [args: string[], shown: string])[] = [
    [['inspect', target], `${printed}.st: snapshot, `],
    [['inspect', target, '--json'], `"file": "${printed}.st"`],
    [['verify', target], `${printed}.st: intact, `],
    [['verify', target, '--json'], `{"file":"${printed}.st",`],
    [['extract', target, '-o', `${name}.img`], `hexz: ${printed}.img: `],
    [['extract', target, '-o', `${name}2.img`, '--json'], `{"target":"${printed}2.img",`],
    [
      ['recover', target, '-o', `${name}3.img`],
      `hexz: ${printed}3.img: recovered 4.88 KiB (5000 bytes) of ${printed}.st`
    ],
    [['recover', target, '-o', `${name}4.img`, '--json'], `"target":"${printed}4.img"`],
    [['diff', target, `${name}2.st`], 'disk: no byte differs'],
    [['diff', target, `${name}2.st`, '--json'], `{"files":["${printed}.st","${printed}2.st"]`],
    [['predict', name], `${printed}: 4.88 KiB, all of it read`],
    [['train', `${name}.tar`, '-o', `${name}.dict`], `hexz: ${printed}.dict: `],
    [['verify', `${name}.nowhere`], `hexz: ${printed}.nowhere does not exist`]
  ]
  await eachOf(lines, async ([args, shown]) => {
    const { stdout, stderr } = await runCli(args, { cwd })
    const text = stdout.toString() + stderr
    t.ok(text.includes(shown), `${JSON.stringify(args)}: ${text}`)
    // eslint-disable-next-line no-control-regex -- that is what is looked for
    t.notOk(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(text), `${args[0] ?? ''}: nothing raw`)
  })
})
