import t from 'tap'
import { openHttpBytes } from '../../lib/reader/http-source.js'
import { hideSecrets, nameOfUrl, takeLogin } from '../../lib/reader/http-url.js'
import { randomBytes } from '../helpers/data.js'
import { rejected } from '../helpers/errors.js'
import { serveFile, type Fault } from '../helpers/http-server.js'
import { runCli, scratch } from '../helpers/run-cli.js'

const bytes = randomBytes(1000, 1)
const quick = { retryDelayMs: 1, tryCount: 1 }

await t.test('the name of a URL has nothing in it that may be secret', (t) => {
  for (const [url, name] of [
    ['http://h/x', 'http://h/x'],
    ['https://user:s3cret@h:8443/a/b.st?token=s3cret#s3cret', 'https://h:8443/a/b.st'],
    ['HTTP://s3cret@H/x', 'http://h/x'],
    ['http://u:100%@h/x', 'http://h/x'],
    ['http://u:s3/cret@h/x', 'http://h/x'],
    ['http://u:s3?cret@h/x?s3cret', 'http://h/x'],
    ['http://u:s3#cret@h/x', 'http://h/x'],
    ['http://a:s3cret@:99999/', 'http://:99999/'],
    ['http://a:s3cret@[::1/x?s3cret', 'http://[::1/x'],
    ['http://a:s3@cret@h:x/y', 'http://h:x/y'],
    ['http://', 'http://'],
    ['ftp://u:s3cret@h/x?s3cret', 'ftp://h/x'],
    ['s3://s3cret@bucket/x', 's3://bucket/x'],
    ['a@b?c#d', 'a@b?c#d'],
    ['/srv/http://a', '/srv/http://a'],
    ['-', '-']
  ] as const)
    t.equal(nameOfUrl(url), name, url)
  t.equal(
    hideSecrets('no stream "a?b" in http://u:$&@h/x?t; see --source=http://u:$&@h/x?t, http://h/y', [
      'extract',
      'http://u:$&@h/x?t',
      '--source=http://u:$&@h/x?t',
      'a?b',
      'http://h/y'
    ]),
    'no stream "a?b" in http://h/x; see --source=http://h/x, http://h/y'
  )
  t.end()
})

await t.test('a login as a header', (t) => {
  const sent = (login: string): string | undefined => {
    const { url, authorization } = takeLogin(new URL(`http://${login}h/x?y#z`))
    t.equal(url.href, 'http://h/x?y', 'the URL has no login')
    return authorization === undefined
      ? undefined
      : Buffer.from(authorization.replace('Basic ', ''), 'base64').toString('latin1')
  }
  for (const [login, expected] of [
    ['', undefined],
    [':@', undefined],
    ['u@', 'u:'],
    [':p@', ':p'],
    ['ada:s%40c%3Aret@', 'ada:s@c:ret'],
    ['u:100%@', 'u:100%'],
    ['u:%zz%4@', 'u:%zz%4'],
    ['u:%2525@', 'u:%25'],
    ['u:%ff%00@', 'u:\xff\x00'],
    ['zo%C3%AB:東京@', Buffer.from('zoë:東京').toString('latin1')]
  ] as const)
    t.equal(sent(login), expected, login)
  t.end()
})

await t.test('a login that is not percent-encoded right logs in', async (t) => {
  const server = await serveFile(t, bytes)
  const source = await openHttpBytes(server.url.replace('http://', 'http://ü:100%@'))
  t.equal(server.seen[0]?.headers.authorization, `Basic ${Buffer.from('ü:100%').toString('base64')}`)
  await source.close()
})

await t.test('a redirect with a login uses it there and tells nobody', async (t) => {
  const redirect =
    (location: string): Fault =>
    (_, __, response) => {
      response.writeHead(302, { location }).end()
      return 'done'
    }
  const target = await serveFile(t, bytes)
  const other = await serveFile(t, bytes, redirect(target.url))
  const first = await serveFile(t, bytes, redirect(other.url.replace('http://', 'http://bob:s3cret@')))
  const source = await openHttpBytes(first.url.replace('http://', 'http://ada:pass@'))
  const basic = (login: string): string => `Basic ${Buffer.from(login).toString('base64')}`
  t.same(
    [first, other, target].map(({ seen }) => seen[0]?.headers.authorization),
    [basic('ada:pass'), basic('bob:s3cret'), undefined]
  )
  t.equal(source.name, first.url)
  await source.close()

  for (const [location, why] of [
    ['http://a:s3cret@:99999/', 'it is redirected to what is not a URL'],
    ['ftp://a:s3cret@h/', 'it is redirected to where hexz does not follow, ftp:'],
    [`${'x'.repeat(9000)}:s3cret`, `it is redirected to where hexz does not follow, ${'x'.repeat(100)}`]
  ] as const) {
    const server = await serveFile(t, bytes, redirect(location))
    t.equal(
      await rejected(openHttpBytes(server.url, quick)),
      `SourceError SOURCE_UNREADABLE: ${server.url} can't be read: ${why}`
    )
  }
  const refused = await serveFile(t, bytes, redirect('http://a:s3cret@127.0.0.1:1/x?s3cret'))
  t.match(
    await rejected(openHttpBytes(refused.url, quick)),
    /^SourceError SOURCE_UNREADABLE: http:\/\/127\.0\.0\.1:\d+\/vm\.st can't be read: (?!.*s3cret)/
  )
})

await t.test('no command shows a secret of a URL as it was typed', async (t) => {
  const server = await serveFile(t, bytes, (_, answer) => {
    answer.status = 404
    return undefined
  })
  const cwd = scratch(t)
  const good = server.url.replace('http://', 'http://ada:s3cret@') + '?s3cret#s3cret'
  const runs: [string[], number, string][] = [
    [['inspect', good], 3, `${server.url} does not exist: the server says 404`],
    [['verify', 'http://a:s3cret@:99999/'], 2, 'http://:99999/ is not a URL of http or https'],
    [['extract', good, '-o', 'x'], 3, `${server.url} does not exist: the server says 404`],
    [['inspect', 'ftp://a:s3cret@h/x'], 3, 'ftp://h/x does not exist'],
    [
      ['serve', '--http', 'http://a:s3cret@h:80', 'x'],
      2,
      '--http http://h:80 is no address; write unix:PATH, HOST:PORT or [IPv6]:PORT'
    ]
  ]
  for (const [args, code, message] of runs)
    for (const json of args[0] === 'serve' ? [] : [[], ['--json']]) {
      const result = await runCli([...args, ...json], { cwd })
      t.equal(result.code, code, args.join(' '))
      t.notMatch(result.stderr, /s3cret/)
      if (json.length === 0) t.equal(result.stderr, `hexz: ${message}\n`)
    }
})
