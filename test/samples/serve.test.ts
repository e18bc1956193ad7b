import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hexz, makeTools, root, run, skipUnless } from '../docs/run.js'
import { skipUnlessFuse } from '../helpers/fuse.js'
import { scratch } from '../helpers/run-cli.js'

const sample = (name: string): string => join(root, 'samples', name)
const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

/** Where `.ci/run` puts the kernel. */
const kernels = join(root, '.cache', 'linux')
const kernel = existsSync(kernels) ? readdirSync(kernels).find((name) => name.endsWith('.deb')) : undefined

const bootNeeds = skipUnless('qemu-system-x86_64', 'busybox', 'mke2fs', 'dpkg', 'apt-get', 'bash')
const skipBoot =
  bootNeeds !== false
    ? bootNeeds
    : kernel === undefined
      ? 'no kernel in .cache/linux; .ci/run downloads it'
      : false

void t.test('a Linux boots from a snapshot that is served', { skip: skipBoot }, async (t) => {
  const folder = scratch(t)
  const at = (name: string): string => join(folder, name)
  if (kernel !== undefined) symlinkSync(join(kernels, kernel), at(kernel))
  const path = makeTools(at('bin'))
  const made = await run(sample('make-linux.sh'), [folder])
  t.equal(made.exitCode, 0, made.stderr)
  t.equal((await hexz(['build', at('root.img'), '-o', at('root.st'), '--cdc'])).exitCode, 0)
  const before = sha256(at('root.st'))

  const machine = ['-accel', 'tcg', '-m', '256', '-nographic', '-no-reboot', '-net', 'none']
  const boot = ['-kernel', at('kernel'), '-initrd', at('initrd'), '-append', 'console=ttyS0 quiet panic=-1']
  const { exitCode, stdout } = await run(sample('boot.sh'), [at('root.st'), ...machine, ...boot], { path })
  t.equal(exitCode, 0)
  t.match(
    stdout.toString().replaceAll('\r', ''),
    /guest: 5000 readings on \/dev\/vda, written by the guest\n/,
    'what the guest says'
  )
  t.equal(sha256(at('root.st')), before, 'what it wrote is not in the snapshot')
})

void t.test('look-inside.sh', { skip: skipUnlessFuse('debugfs', 'bash') }, async (t) => {
  const folder = scratch(t)
  const snapshot = join(folder, 'disk.st')
  const path = makeTools(join(folder, 'bin'))
  t.equal(
    (await hexz(['build', sample('disk.img'), '-o', snapshot, '--memory', sample('pipe.sh')])).exitCode,
    0
  )
  const { exitCode, stdout } = await run(sample('look-inside.sh'), [snapshot, '/etc/hostname'], { path })
  t.same([exitCode, stdout.toString()], [0, 'sensor-17\n'])

  await t.test('hexz mount shows other streams, and ends when it is unmounted', async (t) => {
    mkdirSync(join(folder, 'mnt'))
    const script = [
      'mkfifo ready && exec 3<> ready',
      'hexz mount disk.st mnt --stream memory > ready 2> log & read -r file < ready',
      'cmp "$file" "$SAMPLE" && ls mnt && { echo x > "$file" || echo read-only; } 2> /dev/null',
      'umount mnt || fusermount3 -u mnt',
      'wait %1; echo "$?"; ls mnt; cat log'
    ].join('\n')
    const env = { SAMPLE: sample('pipe.sh') }
    const { stdout, stderr } = await run('bash', ['-c', script], { cwd: folder, path, env })
    t.same([stdout.toString(), stderr], ['memory\nread-only\n0\n', ''])
  })

  await t.test('hexz mount refuses what it cannot do', async (t) => {
    const cases: readonly (readonly [string, number, RegExp])[] = [
      ['disk.st none', 4, /^hexz: none is no folder to mount in\n$/],
      ['disk.st mnt --stream swap', 2, /^hexz: disk\.st has no stream "swap"; it has disk, memory\n$/],
      ['none.st mnt', 3, /^hexz: none\.st does not exist\n$/]
    ]
    for (const [words, code, message] of cases) {
      const { exitCode, stderr } = await hexz(['mount', ...words.split(' ')], { cwd: folder })
      t.equal(exitCode, code, words)
      t.match(stderr, message)
    }
    writeFileSync(join(folder, 'bin', 'nbdfuse'), '#!/bin/sh\necho "nbdfuse: no permission" >&2; exit 1\n', {
      mode: 0o755
    })
    const { exitCode, stderr } = await hexz(['mount', 'disk.st', 'mnt'], { cwd: folder, path })
    t.same([exitCode, stderr], [4, "hexz: mnt/disk can't be mounted: nbdfuse: no permission\n"])
  })
})
