#!/bin/sh
// 2> /dev/null; while read -r key mask; do [ "$key" = SigIgn: ] && export HEXZ_SIGIGN="$mask" && break; done 2> /dev/null < /proc/self/status; exec node "$0" "$@"

/*
 * The line above is for the shell, which starts this file again with Node: Node forgets which signals the program
 * that started it had ignored, as nohup does. To the shell, the two slashes are a command that fails in silence.
 *
 * What follows is read by versions of Node that can't read the rest: no newer syntax here, and no other import.
 */
const needed = [20, 19] as const
const [major, minor] = process.versions.node.split('.').map(Number) as [number, number]

// Node's own answer to this signal is to open a debugger on a port.
process.on('SIGUSR1', () => undefined)

if (major > needed[0] || (major === needed[0] && minor >= needed[1])) {
  import('./lib/commands/main.js').catch((error: unknown) => {
    const { message, code } = error as NodeJS.ErrnoException
    const isLimit = code === 'EMFILE' || code === 'ENFILE'
    const why = isLimit ? 'too many files are open; raise the limit (ulimit -n)' : `can't start: ${message}`
    process.stderr.write(`hexz: ${why}\n`)
    process.exitCode = isLimit ? 4 : 1
  })
} else {
  process.stderr.write(
    `hexz: needs Node.js ${needed.join('.')} or newer, and this is ${process.versions.node}: install a newer one, see https://nodejs.org/\n`
  )
  process.exitCode = 7
}
