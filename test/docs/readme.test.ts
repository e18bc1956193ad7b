import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { openSnapshot } from '../../lib/index.js'
import { profiles } from '../../lib/profiles.js'
import { makeTools, root, run, skipUnless, type Result } from './run.js'

const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The code blocks of a language, in order. */
function blocks(language: string): string[] {
  return [...readme.matchAll(/^```(.*)\n([^]*?)^```$/gm)]
    .filter((match) => match[1] === language)
    .map((match) => match[2] ?? '')
}

const image = readFileSync(join(root, 'samples', 'disk.img'))
const memory = readFileSync(join(root, 'package-lock.json')).subarray(0, 150_000)

/** What a line of the README leaves behind, and where it ran. */
interface Outcome extends Result {
  readonly t: Test
  readonly at: (name: string) => string
  readonly read: (name: string) => Buffer
}

/** That a file holds exactly these bytes. */
const file =
  (name: string, bytes: Uint8Array) =>
  ({ t, read }: Outcome): void => {
    t.ok(read(name).equals(bytes), `${name} has the bytes`)
  }

/** That the disk in a snapshot has these bytes. */
const snapshot =
  (name: string, bytes: Uint8Array) =>
  async ({ t, at }: Outcome): Promise<void> => {
    const opened = await openSnapshot(at(name))
    t.ok((await buffer(opened.createReadStream('disk'))).equals(bytes), `${name} gives the bytes back`)
    await opened.close()
  }

const says =
  (where: 'stdout' | 'stderr', pattern: RegExp) =>
  (outcome: Outcome): void => {
    outcome.t.match(outcome[where].toString(), pattern)
  }

const silent = ({ t, stdout }: Outcome): void => {
  t.equal(stdout.toString(), '')
}

/** Instead of a terminal, for the lines that would ask on one: what is given for a plain snapshot is an error. */
const envOf = (line: string): Record<string, string> =>
  /secret|sealed|keygen/.test(line) ? { HEXZ_PASSPHRASE: 'nine lives' } : {}

/** Each command line of the README, and what must be true when it has run. A line that is not here fails. */
const checks: Record<string, (outcome: Outcome) => void | Promise<void>> = {
  'npm ci && npx hexz build samples/disk.img -o disk.st': async (outcome) => {
    await snapshot('disk.st', image)(outcome)
    outcome.t.equal(outcome.stderr.split('\n').slice(0, 4).join('\n'), blocks('')[0]?.trimEnd(), 'as shown')
  },
  'npm test': ({ t, read }) => {
    t.equal(read('npm.log').toString(), 'ci\ntest\n')
  },

  'npm link': ({ t, read }) => {
    t.equal(read('npm.log').toString(), 'ci\ntest\nlink\n')
  },
  'cp samples/disk.img disk.img': file('disk.img', image),
  'head -c 150000 package-lock.json > ram.bin': file('ram.bin', memory),
  'tar -cf library.tar node_modules/typescript/lib': silent,
  'tar -cf other.tar node_modules/prettier': silent,

  'dd if=disk.img bs=4M | hexz build - > out.st': snapshot('out.st', image),
  'hexz extract out.st | cmp - disk.img': silent,
  'cat out.st | hexz extract - -o copy.img': file('copy.img', image),
  'tar -c docs | hexz build - -o docs.st': says('stderr', /^hexz: docs\.st: .* in, /),
  'mkdir elsewhere && hexz extract docs.st | tar -x -C elsewhere': file(
    'elsewhere/docs/format.md',
    readFileSync(join(root, 'docs', 'format.md'))
  ),

  "hexz build --from-command 'ssh host dd if=/dev/vda bs=4M' -o vm.st": snapshot('vm.st', image),
  "ssh host 'hexz build /dev/vda -' > vm2.st": ({ t, read }) => {
    t.ok(read('vm2.st').equals(read('vm.st')), 'the same snapshot from either side')
  },
  "hexz extract vm.st | ssh host 'dd of=/dev/vdb bs=4M'": file('vdb', image),

  'hexz build disk.img -o eda.st --profile eda --cdc --memory ram.bin': snapshot('eda.st', image),
  'hexz pack disk.img -o small.st --compression zstd --level 19 --block-size 512K': async (outcome) => {
    await snapshot('small.st', image)(outcome)
    outcome.t.ok(outcome.read('small.st').length < outcome.read('disk.st').length, 'and is small')
  },

  'hexz predict disk.img': says('stdout', /^smallest: --profile \w+/m),
  'hexz train library.tar other.tar -o shared.dict': says(
    'stderr',
    /^hexz: shared\.dict: \d+ KiB, trained on /
  ),
  'hexz build disk.img -o shared.st --profile eda --dictionary shared.dict': async (outcome) => {
    await snapshot('shared.st', image)(outcome)
    says('stderr', /^ {2}dictionary {3}\d+ KiB, given, not trained here$/m)(outcome)
  },

  'hexz inspect eda.st': says('stdout', /^ {2}codec {8}Zstd level 3$/m),
  'hexz verify eda.st': says('stdout', /^eda\.st: intact, /),
  'hexz extract eda.st -o back.img': file('back.img', image),
  'hexz extract eda.st --stream memory -o ram.back': file('ram.back', memory),
  'hexz extract eda.st --offset 1M --length 4K > range.bin': file(
    'range.bin',
    image.subarray(1024 * 1024, 1028 * 1024)
  ),
  'hexz extract eda.st --in-place -o back.img': ({ t, read, stderr }) => {
    t.match(stderr, /; 0 B \(0 bytes\) differed and were written/)
    t.ok(read('back.img').equals(image))
  },
  'hexz diff disk.st out.st': says('stderr', /^hexz: disk: no byte differs\n$/),
  'head -c 100000 out.st > cut.st': silent,
  'hexz recover cut.st -o saved.img': ({ t, read, stderr }) => {
    const saved = read('saved.img')
    const prefix = Number(/the first (\d+) bytes are without a gap/.exec(stderr)?.[1])
    t.ok(prefix >= 65536 && prefix <= saved.length)
    t.ok(saved.subarray(0, prefix).equals(image.subarray(0, prefix)), 'what is saved is right')
  },

  'hexz build disk.img -o secret.st --encrypt': ({ t, read }) => {
    t.notOk(read('secret.st').includes('noatime'))
  },
  'hexz extract secret.st -o secret.img': file('secret.img', image),
  'hexz keygen -o backup': says('stdout', /^backup\.key \(keep it secret\), backup\.crt \(give it away\)/),
  'hexz build disk.img -o sealed.st --recipient backup.crt': says('stderr', /^hexz: sealed\.st: 2 MiB in/),
  'hexz verify sealed.st --identity backup.key': says('stdout', /^sealed\.st: intact, 2 MiB in /),
  'hexz key list sealed.st': says('stdout', /^ 0 {2}recipient {3}key id [0-9a-f]{64}\n$/),
  'hexz key backup sealed.st sealed.keys': says(
    'stderr',
    /^hexz: sealed\.keys: header and keys of sealed\.st\n$/
  )
}

const skip = skipUnless('bash', 'dd', 'cmp', 'tar', 'sed', 'git')

/** What `git clone` gives, and what `npm ci` puts there. */
function freshClone(folder: string): void {
  const names = execFileSync('git', ['ls-files', '-z'], { cwd: root }).toString().split('\0')
  for (const name of names.filter((one) => one !== '' && !one.startsWith('test/')))
    cpSync(join(root, name), join(folder, name))
  for (const name of ['dist', 'node_modules']) symlinkSync(join(root, name), join(folder, name))
}

void t.test('every command line of the README does what it says, in a fresh clone', { skip }, async (t) => {
  const folder = t.testdir()
  freshClone(folder)
  const at = (name: string): string => join(folder, name)
  copyFileSync(join(root, 'samples', 'disk.img'), at('vda'))
  // npm is running this test; and the far side of ssh is this folder.
  const path = makeTools(at('bin'), {
    npm: `echo "$*" >> '${at('npm.log')}'`,
    npx: 'exec "$@"',
    ssh: `shift; exec sh -c "$(printf %s "$*" | sed 's#/dev/vd#${folder}/vd#g')"`
  })
  const lines = blocks('sh').flatMap((block) => block.trim().split('\n'))
  t.same(lines, Object.keys(checks), 'each line has its check, in the same order')
  for (const line of lines) {
    const result = await run('bash', ['-o', 'pipefail', '-c', line], { cwd: folder, path, env: envOf(line) })
    if (!t.equal(result.exitCode, 0, line)) t.comment(result.stderr)
    await checks[line]?.({ ...result, t, at, read: (name) => readFileSync(at(name)) })
  }

  const [library = '', stages = '', ...others] = blocks('js')
  t.same(others, [])
  writeFileSync(at('library.mjs'), library)
  const used = (await run('node', ['library.mjs'], { cwd: folder })).stdout.toString().trim().split('\n')
  t.equal(used[0], `${statSync(at('lib.st')).size} bytes`)
  t.equal(used[1], 'ef53', 'the magic of ext4')
  let end = 0
  for (const line of used.slice(2)) {
    const [kind = '', offset, size] = line.split(' ')
    t.equal(Number(offset), end, line)
    end += Number(size)
    if (kind === 'hole') t.ok(image.subarray(Number(offset), end).every((byte) => byte === 0))
    else t.equal(kind, 'data')
  }
  t.equal(end, image.length)

  writeFileSync(at('stages.mjs'), stages)
  const chunks = (await run('node', ['stages.mjs'], { cwd: folder })).stdout.toString().trim().split('\n')
  t.equal(chunks.length, image.length / 4096)
  t.same([...new Set(chunks)].sort(), ['hole 4096', 'repeat 4096', 'unique 4096'])
})

void t.test('the profiles of the README are those of the code', (t) => {
  const rows = [...readme.matchAll(/^\| `(\w+)`.*?\| (.*?) \| (.*?) \| (.*?) \|$/gm)]
  t.same(
    rows.map(([, ...cells]) => cells),
    Object.entries(profiles).map(([name, { codec, level, chunkSize, purpose }]) => [
      name,
      codec === 'lz4' ? 'LZ4' : `Zstd level ${level}`,
      `${chunkSize / 1024} KiB`,
      purpose
    ])
  )
  t.end()
})
