import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { build, LimitError } from '../../lib/index.js'
import { systemLimit } from '../../lib/errors.js'
import { cipherBytes } from '../helpers/bulk-data.js'
import { rejected } from '../helpers/errors.js'
import { cliPath, contentsOf, eachOf, failsWith, runShell, scratch } from '../helpers/run-cli.js'

const files = 'too many files are open; raise the limit (ulimit -n)'
const threads =
  'no thread or process can be started; raise the limit (ulimit -u, or of the container), or lower --concurrency'
const disk = cipherBytes(5 * 1024 * 1024, 1)

await t.test('too few open files', async (t) => {
  const cwd = scratch(t)
  writeFileSync(join(cwd, 'disk.img'), disk)
  await build({ source: join(cwd, 'disk.img'), target: join(cwd, 'a.st'), concurrency: 1 })
  const before = contentsOf(cwd)
  const cases = [24, 30, 36, 40].map((limit) => [limit, 'build disk.img -o new.st'] as const)
  await eachOf(
    [...cases, [24, 'extract a.st -o new.img'] as const, [24, 'verify a.st'] as const],
    async ([limit, words]) => {
      const run = await runShell(`ulimit -n ${limit}; hexz ${words}`, { cwd })
      failsWith(t, run, { code: 4, message: files }, `ulimit -n ${limit}: ${words}`)
    }
  )
  t.strictSame(contentsOf(cwd), before, 'nothing is left')
})

const user = 60_000 + (process.pid % 5000)
const asUser = ['--reuid', String(user), '--regid', String(user), '--clear-groups']
const isUsable =
  process.getuid?.() === 0 &&
  spawnSync('setpriv', [...asUser, process.execPath, '--version']).status === 0 &&
  spawnSync('setpriv', [...asUser, 'test', '-r', cliPath]).status === 0
const skipThreads = isUsable ? false : 'needs root, setpriv, and a folder that others may read'

await t.test('too few threads', { skip: skipThreads }, async (t) => {
  const cwd = scratch(t)
  chmodSync(cwd, 0o755)
  writeFileSync(join(cwd, 'disk.img'), disk)
  let isBuilt = false
  for (let limit = 8; limit <= 20; limit++) {
    const folder = join(cwd, String(limit))
    mkdirSync(folder, { mode: 0o777 })
    chmodSync(folder, 0o777)
    const command = `ulimit -u ${limit}; exec "${process.execPath}" "${cliPath}" build ../disk.img -o new.st --concurrency 4`
    const { code, stderr } = await runShell(`setpriv ${asUser.join(' ')} bash -c '${command}'`, {
      cwd: folder
    })
    t.notMatch(stderr, 'bug of hexz', `ulimit -u ${limit}`)
    const left = readdirSync(folder)
    t.strictSame(left, code === 0 ? ['new.st'] : [], `ulimit -u ${limit}: what is left, exit ${code}`)
    if (code === 4) t.equal(stderr, `hexz: ${threads}\n`)
    rmSync(folder, { recursive: true })
    isBuilt = code === 0
    if (isBuilt) break
  }
  t.ok(isBuilt, 'a pool goes on with the threads that it gets')
})

await t.test('a limit of the system, by what an error or its cause says', async (t) => {
  const withCode = (code: string, more: object = {}): Error =>
    Object.assign(new Error('failed'), { code, ...more })
  const told = (error: unknown): string | undefined => systemLimit(error)?.message
  t.equal(told(withCode('EMFILE')), files)
  t.equal(told(withCode('ENFILE')), files)
  t.equal(told(new Error('a worker thread failed', { cause: withCode('EMFILE') })), files)
  t.equal(told(withCode('ERR_WORKER_INIT_FAILED')), threads)
  t.equal(told(withCode('EAGAIN', { syscall: 'spawn nbdfuse' })), threads)
  t.equal(told(withCode('EAGAIN', { syscall: 'read' })), undefined)
  t.match(told(withCode('ENOMEM')), /^the system gives no more memory/)
  t.match(told(new RangeError('Array buffer allocation failed')), /^the system gives no more memory/)
  t.equal(told(withCode('EIO')), undefined)
  t.equal(told('EMFILE'), undefined)
  const limit = systemLimit(withCode('EMFILE'), 'a can’t be read: ', 'a')
  t.ok(limit instanceof LimitError)
  t.strictSame([limit?.code, limit?.exitCode, limit?.details.where], ['SYSTEM_LIMIT', 4, 'a'])
  t.equal(
    await rejected(Promise.reject(limit as Error)),
    `LimitError SYSTEM_LIMIT: a can’t be read: ${files}`
  )
})
