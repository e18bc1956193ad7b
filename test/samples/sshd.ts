import { spawn, spawnSync } from 'node:child_process'
import { copyFileSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { run } from '../docs/run.js'

export interface Sshd {
  /** Configuration for the client; the server's name in it is `far`. */
  readonly clientConfig: string
  readonly ssh: string
  readonly stop: () => void
}

/**
 * Starts an ssh server on the loopback interface with keys of its own, that lets in whoever runs the test.
 *
 * @param path the PATH of what it runs
 * @returns the server, or why there is none
 */
export async function startSshd(folder: string, path: string): Promise<Sshd | string> {
  const sshd = find('sshd')
  const ssh = find('ssh')
  if (sshd === undefined || ssh === undefined || find('ssh-keygen') === undefined)
    return 'not installed: sshd, ssh or ssh-keygen'
  const at = (name: string): string => join(folder, name)
  for (const key of ['host', 'user'])
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', at(key)])
  copyFileSync(at('user.pub'), at('authorized'))
  const port = await freePort()
  writeFileSync(
    at('sshd.conf'),
    `Port ${port}\nListenAddress 127.0.0.1\nHostKey ${at('host')}\nAuthorizedKeysFile ${at('authorized')}\n` +
      `PidFile none\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n` +
      `PermitRootLogin prohibit-password\nSetEnv PATH=${path}\n`
  )
  writeFileSync(
    at('ssh.conf'),
    `Host far\n HostName 127.0.0.1\n Port ${port}\n User ${userInfo().username}\n IdentityFile ${at('user')}\n` +
      ` IdentitiesOnly yes\n BatchMode yes\n StrictHostKeyChecking no\n UserKnownHostsFile ${at('known')}\n LogLevel ERROR\n`
  )

  const server = spawn(sshd, ['-D', '-e', '-f', at('sshd.conf')], { stdio: ['ignore', 'ignore', 'pipe'] })
  const stop = (): void => void server.kill()
  let said = ''
  await new Promise<void>((resolve) => {
    server.on('exit', () => resolve())
    server.stderr.on('data', (piece: Buffer) => {
      said += piece.toString()
      if (said.includes('Server listening')) resolve()
    })
  })
  if (server.exitCode !== null) return `sshd does not start: ${said.trim().replaceAll('\n', '; ')}`
  const probe = await run(ssh, ['-F', at('ssh.conf'), 'far', 'true'])
  if (probe.exitCode === 0) return { clientConfig: at('ssh.conf'), ssh, stop }
  stop()
  return `sshd lets nobody in: ${probe.stderr.trim()}`
}

function find(name: string): string | undefined {
  const { stdout } = spawnSync('sh', ['-c', `PATH="$PATH:/usr/sbin" command -v ${name}`])
  return stdout.toString().trim() || undefined
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}
