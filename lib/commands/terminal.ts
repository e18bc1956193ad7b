import { openSync, writeSync } from 'node:fs'
import { ReadStream } from 'node:tty'
import { toPassphrase } from '../crypto/passphrase.js'
import { wipe } from '../crypto/sealing.js'
import { KeyError, LimitError } from '../errors.js'
import { heardEndings } from './signals.js'
import type { GivenSecret } from './passphrase.js'
import { passphraseSizeMax } from './secret.js'

const keys = {
  interrupt: 3,
  end: 4,
  backspace: 8,
  newLine: 10,
  enter: 13,
  killLine: 21,
  delete: 127
} as const

/** How often a new passphrase may be typed in two ways. */
const attemptCount = 3

/** Typed or pasted after the line that was asked for: the start of the answer to the next question. */
let typedAhead: number[] = []

/** Behind "the passphrase", in messages. */
const where = ' that was typed'

/** A passphrase, as the terminal sent it. @throws as `onTerminal` */
export async function ask(question: string): Promise<GivenSecret> {
  return onTerminal(async (readAnswer) => ({ bytes: await readAnswer(question), where }))
}

/** A new passphrase, typed twice, up to three times. @throws KeyError KEY_WRONG when they differ; as `onTerminal` */
export async function askTwice(): Promise<Buffer> {
  return onTerminal(async (readAnswer, show) => {
    for (let attempt = 1; attempt <= attemptCount; attempt++) {
      const first = toPassphrase(await readAnswer('New passphrase: '), where)
      let second: Buffer | undefined
      let isSame = false
      try {
        second = toPassphrase(await readAnswer('Again: '), where)
        isSame = first.equals(second)
        if (isSame) return first
      } finally {
        wipe(second)
        if (!isSame) wipe(first)
      }
      if (attempt < attemptCount) show('The two differ. Once more.\n')
    }
    throw new KeyError('KEY_WRONG', 'the two passphrases differ; nothing was done')
  })
}

/**
 * Asks on the terminal itself, without echo: standard input may carry the image. All questions in one go,
 * so that nothing is shown of a paste that answers more than one.
 *
 * @throws KeyError KEY_MISSING without a terminal; LimitError for an answer that is too long; what `dialog` throws
 */
async function onTerminal<T>(
  dialog: (readAnswer: (question: string) => Promise<Buffer>, show: (text: string) => void) => Promise<T>
): Promise<T> {
  const terminal = openTerminal()
  const input = new ReadStream(terminal)
  const show = (text: string): void => void writeSync(terminal, text)
  try {
    input.on('data', (piece: Buffer) => typedAhead.push(...piece))
    input.setRawMode(true)
    return await dialog(async (question) => {
      show(question)
      try {
        return await readLine(input)
      } finally {
        show('\n') // raw mode still makes it CR LF
      }
    }, show)
  } finally {
    input.setRawMode(false)
    input.destroy()
  }
}

function openTerminal(): number {
  try {
    return openSync('/dev/tty', 'r+')
  } catch {
    throw new KeyError(
      'KEY_MISSING',
      'a passphrase is needed and there is no terminal to ask on; give --passphrase-file, --passphrase-fd or HEXZ_PASSPHRASE'
    )
  }
}

/** Whether a byte of UTF-8 goes on with a character. */
const isContinuation = (byte = 0): boolean => (byte & 0xc0) === 0x80

/** A line in raw mode, where the terminal does nothing by itself. Its bytes, whatever text they are. */
function readLine(input: ReadStream): Promise<Buffer> {
  const typed: number[] = []
  return new Promise((resolve, reject) => {
    const end = (settle: () => void): void => {
      input.off('data', take).off('error', giveUp).off('end', giveUp)
      for (const signal of heardEndings) process.off(signal, giveUp)
      settle()
      typed.fill(0)
    }
    const giveUp = (): void => end(() => reject(new KeyError('KEY_MISSING', 'no passphrase was given')))
    const take = (): void => {
      const given = typedAhead
      typedAhead = []
      for (const [i, key] of given.entries()) {
        if (key === keys.enter || key === keys.newLine || key === keys.end) {
          const isPair = key === keys.enter && given[i + 1] === keys.newLine // both end one line
          typedAhead = [...given.slice(i + (isPair ? 2 : 1)), ...typedAhead]
          end(() => resolve(Buffer.from(typed)))
          return
        }
        if (key === keys.interrupt) {
          process.kill(process.pid, 'SIGINT') // the wait ends when it arrives
          return
        }
        if (key === keys.backspace || key === keys.delete) {
          while (isContinuation(typed.at(-1))) typed.pop() // a whole character goes
          typed.pop()
        } else if (key === keys.killLine) typed.length = 0
        else if (typed.push(key) > passphraseSizeMax) {
          end(() => reject(tooLong()))
          return
        }
      }
    }
    // The terminal must be as it was before hexz goes down by one.
    for (const signal of heardEndings) process.on(signal, giveUp)
    input.on('error', giveUp).on('end', giveUp).on('data', take)
    take()
  })
}

function tooLong(): LimitError {
  return new LimitError(`a passphrase that is typed has at most ${passphraseSizeMax} bytes`)
}
