import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { openSnapshot } from '../../lib/index.js'
import { textBytes } from '../helpers/data.js'
import {
  contentsOf,
  eachOf,
  failsWith,
  finished,
  runCli,
  scratch,
  startCli,
  until
} from '../helpers/run-cli.js'

const disk = textBytes(300_000, 1)

await t.test('what a command writes is the source', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  const lines: readonly (readonly [args: string[], target: string])[] = [
    [['build', '--from-command', 'cat disk.img', '-o', 'a.st'], 'a.st'],
    [['build', '--from-command', 'head -c 100000 disk.img; tail -c +100001 disk.img', 'b.st'], 'b.st'],
    // It says a lot that nobody reads, and is over before its output is.
    [['pack', '--from-command', '(sleep 0.3; cat disk.img) & seq 1 100000 >&2', '-o', 'c.st'], 'c.st']
  ]
  await eachOf(lines, async ([args, target]) => {
    const { code, stderr } = await runCli(args, { cwd })
    t.equal(code, 0, stderr.slice(-300))
    const snapshot = await openSnapshot(join(cwd, target))
    t.ok((await snapshot.read('disk', 0, disk.length)).equals(disk), args.join(' '))
    await snapshot.close()
  })
  const shown = await runCli(
    ['build', '--from-command', 'echo "from the far side" >&2; echo x', '-o', 'd.st'],
    { cwd }
  )
  t.match(shown.stderr, /^from the far side\nhexz: d\.st: 2 B in, /, 'what it says is shown')
})

await t.test('a command that fails makes no snapshot', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  writeFileSync(join(cwd, 'old.st'), 'old')
  const before = contentsOf(cwd)
  const cases: readonly (readonly [command: string, what: string])[] = [
    ['cat disk.img; exit 7', 'failed with exit code 7'],
    ['cat disk.img; exec >&-; sleep 0.3; exit 7', 'failed with exit code 7'],
    ['false', 'failed with exit code 1'],
    ['cat disk.img; kill -9 $$', 'was ended by SIGKILL'],
    ['exit 255', 'failed with exit code 255']
  ]
  await eachOf(cases, async ([command, what]) => {
    const message = `the command '${command}' ${what}: what it sent is not whole`
    for (const target of ['new.st', 'old.st']) {
      const args = ['build', '--from-command', command, '-f', '-o', target]
      failsWith(t, await runCli(args, { cwd }), { code: 3, message }, args.join(' '))
    }
    const piped = await runCli(['build', '--from-command', command], { cwd })
    t.strictSame([piped.code, piped.stderr], [3, `hexz: ${message}\n`], `${command}, to standard output`)
    t.not(piped.stdout.subarray(-8).toString(), 'HEXZEND\n', 'what came out does not look finished')
  })
  const missing = await runCli(['build', '--from-command', 'no-such-program', '-o', 'new.st'], { cwd })
  t.equal(missing.code, 3)
  t.match(missing.stderr, /not found\nhexz: the command 'no-such-program' failed with exit code 127: /)
  const empty = await runCli(['build', '--from-command', 'true', '-o', 'new.st'], { cwd })
  const message =
    "the command 'true' gave no bytes: what should have sent them may have failed; --allow-empty takes that as it is"
  failsWith(t, empty, { code: 3, message }, 'no bytes')
  const both = await runCli(['build', '-s', 'disk.img', '--from-command', 'true', '-o', 'new.st'], { cwd })
  failsWith(
    t,
    both,
    { code: 2, message: '--source and --from-command both give the source; give one' },
    'both'
  )
  t.strictSame(contentsOf(cwd), before, 'nothing was made or changed')
})

await t.test('the command ends with hexz', async (t) => {
  const cwd = scratch(t)
  const command = 'echo $$ > pid; (sleep 60; echo late) | cat; echo done'
  const child = startCli(['build', '--from-command', command, '-o', 'new.st'], { cwd })
  await until('the command runs', () => 'pid' in contentsOf(cwd) && readFileSync(join(cwd, 'pid')).length > 1)
  const pid = Number(readFileSync(join(cwd, 'pid'), 'utf8'))
  const isAlive = (): boolean => {
    try {
      process.kill(pid, 0)
      return true
    } catch {
      return false
    }
  }
  t.ok(isAlive())
  await delay(200)
  child.kill('SIGTERM')
  const { signal, stderr } = await finished(child)
  t.strictSame([signal, stderr], ['SIGTERM', 'hexz: stopped by SIGTERM before it was done\n'])
  await until('the command is gone', () => !isAlive())
  t.strictSame(Object.keys(contentsOf(cwd)), ['pid'], 'no target, and no .partial')
})

await t.test('image files are not stored in silence', async (t) => {
  const cwd = scratch(t)
  const images: Readonly<Record<string, string | Buffer>> = {
    qcow2: Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'),
    VMDK: 'KDMV\x01\0\0\0',
    VHDX: 'vhdxfile',
    VDI: Buffer.concat([
      Buffer.alloc(64, '<<< Oracle VM VirtualBox Disk Image >>>\n'),
      Buffer.from('7f10dabe', 'hex')
    ])
  }
  for (const [what, head] of Object.entries(images)) {
    const bytes = Buffer.concat([Buffer.from(head), Buffer.alloc(1000, what)])
    writeFileSync(join(cwd, what), bytes)
    const message = `${what} is a ${what} image, not the disk itself: use qemu-img convert -O raw first; --format raw stores the file as it is`
    failsWith(t, await runCli(['build', what, '-o', 'x.st'], { cwd }), { code: 3, message }, what)
    const raw = await runCli(['build', what, '--format', 'raw', '-o', `${what}.st`], { cwd })
    t.equal(raw.code, 0, raw.stderr)
    const snapshot = await openSnapshot(join(cwd, `${what}.st`))
    t.ok((await snapshot.read('disk', 0, bytes.length)).equals(bytes), `${what}, as it is`)
    await snapshot.close()
  }
  const wrong = await runCli(['build', 'qcow2', '--format', 'qcow2', '-o', 'x.st'], { cwd })
  failsWith(
    t,
    wrong,
    { code: 2, message: '--format qcow2 is unknown; raw stores an image file as it is' },
    'wrong'
  )
})
