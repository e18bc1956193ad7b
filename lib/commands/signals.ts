import { constants } from 'node:os'

/** Signals that end a run in order: partial targets are removed first. Of the rest, none that a user or a system sends to stop a program can be caught. */
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGXCPU'] as const
export type Ending = (typeof endings)[number]

/** Signals that ask how far it is: the first is dd's, the second a job scheduler's notice. */
const questions = ['SIGUSR1', 'SIGUSR2'] as const

/**
 * Whether the program that started us had a signal ignored, as nohup and `trap '' INT` do: then it is not for us.
 * Node makes all signals as they are by default, so `cli.ts` has the shell look before.
 */
function isIgnored(signal: NodeJS.Signals): boolean {
  const { HEXZ_SIGIGN: mask, _: starter } = process.env
  if (mask !== undefined && /^[0-9a-f]{1,16}$/i.test(mask))
    return ((BigInt(`0x${mask}`) >> BigInt(constants.signals[signal] - 1)) & 1n) === 1n
  // `nohup node cli.js`: shells tell which command they started.
  return signal === 'SIGHUP' && starter !== undefined && /(^|\/)nohup$/.test(starter)
}

/** Those that are for us. */
export const heardEndings: readonly Ending[] = endings.filter((signal) => !isIgnored(signal))

let describe = (): string => `hexz: running for ${Math.round(performance.now() / 1000)} s\n`

/** What is printed from now on when a signal asks how far it is: whole lines. */
export function answerWith(text: () => string): void {
  describe = text
}

/** @param onEnding told of the first signal that ends the run; after it, a second one ends the process at once */
export function listen(onEnding: (signal: Ending) => void): void {
  for (const signal of endings)
    if (isIgnored(signal)) process.on(signal, () => undefined)
    else process.once(signal, () => onEnding(signal))
  for (const signal of questions)
    process.on(signal, () => {
      if (!isIgnored(signal)) process.stderr.write(describe())
    })
}

/** Ends this process as by the signal, which tells a shell the truth and waits for no write that nobody reads. */
export function dieBy(signal: Ending): void {
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
}
