import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { authorityOf, isLocal, listen, parseAddress, uriPath } from '../../lib/serve/address.js'
import { runCli, scratch } from '../helpers/run-cli.js'

await t.test('addresses as text', (t) => {
  const tcp = (host: string, port: number): object => ({ kind: 'tcp', host, port })
  for (const [text, address, local] of [
    ['unix:s.sock', { kind: 'unix', path: 's.sock' }, true],
    ['unix:/run/a:b c.sock', { kind: 'unix', path: '/run/a:b c.sock' }, true],
    ['10809', tcp('127.0.0.1', 10809), true],
    ['localhost:0', tcp('localhost', 0), true],
    ['127.1.2.3:65535', tcp('127.1.2.3', 65535), true],
    ['[::1]:80', tcp('::1', 80), true],
    ['0.0.0.0:80', tcp('0.0.0.0', 80), false],
    ['[::]:80', tcp('::', 80), false],
    ['[fe80::1%eth0]:80', tcp('fe80::1%eth0', 80), false],
    ['disks.example:80', tcp('disks.example', 80), false]
  ] as const) {
    const found = parseAddress(text, '--nbd')
    t.same(found, address, text)
    t.equal(isLocal(found), local, text)
  }
  for (const text of [
    '',
    ':80',
    'host',
    'host:',
    'host:x',
    'host:65536',
    '::1:80',
    'a:b:80',
    'http://x:80',
    '-1'
  ])
    t.throws(() => parseAddress(text, '--nbd'), {
      code: 'USAGE',
      message: `--nbd ${text} is no address; write unix:PATH, HOST:PORT or [IPv6]:PORT`
    })
  t.throws(() => parseAddress('unix:', '--http'), { message: '--http unix: names no socket' })
  t.throws(() => parseAddress('unix:a\0b', '--http'), {
    code: 'USAGE',
    message: '--http: the path of a socket has no NUL in it'
  })
  t.throws(() => parseAddress(`unix:/${'x'.repeat(200)}`, '--nbd'), {
    code: 'USAGE',
    message: '--nbd: the path of a socket may have 103 bytes, not 201; choose a shorter one'
  })
  t.equal(authorityOf('::1', 80), '[::1]:80')
  t.equal(uriPath('/run/a b&c?.sock'), '/run/a%20b%26c%3F.sock')
  t.end()
})

await t.test('listening on a unix socket', async (t) => {
  const folder = scratch(t)
  const path = join(folder, 's')
  const close = (server: Server): Promise<unknown> => new Promise((resolve) => server.close(resolve))

  const first = createServer()
  t.same(await listen(first, { kind: 'unix', path }), { kind: 'unix', path })
  await t.rejects(listen(createServer(), { kind: 'unix', path }), {
    code: 'TARGET_EXISTS',
    exitCode: 4,
    message: `another server listens at ${path}`
  })
  await close(first)
  t.notOk(existsSync(path), 'it is gone with its server')

  // A process that is killed leaves its socket behind.
  const leave = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`
  const { spawnSync } = await import('node:child_process')
  spawnSync(process.execPath, ['-e', leave, path], { env: {} })
  t.ok(existsSync(path))
  const second = createServer()
  await listen(second, { kind: 'unix', path })
  await close(second)

  writeFileSync(path, 'mine')
  await t.rejects(listen(createServer(), { kind: 'unix', path }), {
    code: 'TARGET_EXISTS',
    message: `${path} is there already and is no socket; it stays`
  })
  t.equal(readFileSync(path, 'utf8'), 'mine')
  mkdirSync(join(folder, 'd'))
  await t.rejects(listen(createServer(), { kind: 'unix', path: join(folder, 'd') }), {
    code: 'TARGET_EXISTS'
  })
  // Some systems would listen at the first 107 bytes of a longer path; one that begins with NUL is no file.
  const long = join(folder, 'x'.repeat(120))
  for (const [bad, message] of [
    [long, `the path of a socket may have 103 bytes, not ${long.length}; choose a shorter one`],
    ['\0abstract', 'the path of a socket has no NUL in it'],
    [`${path}\0x`, 'the path of a socket has no NUL in it'],
    ['', 'the path of the socket is empty']
  ] as const)
    await t.rejects(listen(createServer(), { kind: 'unix', path: bad }), { code: 'USAGE', message })
  t.same(readdirSync(folder).sort(), ['d', 's'])
  const nowhere = join(folder, 'none', 's')
  await t.rejects(listen(createServer(), { kind: 'unix', path: nowhere }), {
    code: 'TARGET_UNWRITABLE',
    message: `can't listen at ${nowhere}: its folder does not exist`
  })
})

await t.test('listening on a port', async (t) => {
  const server = createServer()
  t.teardown(() => server.close())
  const address = await listen(server, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  if (address.kind !== 'tcp') throw new Error('no port')
  t.ok(address.port > 0)
  await t.rejects(listen(createServer(), address), {
    code: 'TARGET_EXISTS',
    message: `another server listens at 127.0.0.1:${address.port}`
  })
  for (const port of [NaN, -1, 65_536, 1.5])
    await t.rejects(listen(createServer(), { kind: 'tcp', host: '127.0.0.1', port }), {
      code: 'USAGE',
      message: `port ${port} is not a number from 0 to 65535`
    })
  await t.rejects(listen(createServer(), { kind: 'tcp', host: '192.0.2.1', port: 1 }), {
    code: 'TARGET_UNWRITABLE',
    message: /^can't listen at 192\.0\.2\.1:1: /
  })
})

await t.test('the command tells of an address that it cannot have', async (t) => {
  const folder = scratch(t)
  writeFileSync(join(folder, 'x.img'), 'x'.repeat(1000))
  t.equal((await runCli(['build', 'x.img', '-o', 'x.st'], { cwd: folder })).code, 0)
  const { code, stdout, stderr } = await runCli(['serve', 'x.st', '--nbd', 'unix:x.img'], { cwd: folder })
  t.same(
    [code, stdout.toString(), stderr],
    [4, '', 'hexz: x.img is there already and is no socket; it stays\n']
  )
})
