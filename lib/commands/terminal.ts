import { openSync, writeSync } from 'node:fs'
import { ReadStream } from 'node:tty'
import { normalizePassphrase } from '../crypto/passphrase.js'
import { wipe } from '../crypto/sealing.js'
import { KeyError, LimitError } from '../errors.js'
import { heardEndings } from './signals.js'

/** The longest passphrase that can be typed, in code points: what a terminal takes for a line. */
const typedSizeMax = 4096
const keys = {
  interrupt: '\u0003',
  end: '\u0004',
  backspace: '\b',
  delete: '\u007f',
  killLine: '\u0015'
} as const

/** Typed or pasted behind the line that was asked for: the start of the answer to the next question. */
let typedAhead = ''

/** A passphrase. @throws as `askAll` */
export async function ask(question: string): Promise<Buffer> {
  const [answer] = await askAll([question])
  return answer
}

/** A new passphrase, typed twice. @throws KeyError KEY_WRONG when they differ; as `askAll` */
export async function askTwice(): Promise<Buffer> {
  const [first, second] = await askAll(['New passphrase: ', 'Again: '])
  const isSame = first.equals(second)
  wipe(second)
  if (isSame) return first
  wipe(first)
  throw new KeyError('KEY_WRONG', 'the two passphrases differ; nothing was done')
}

/**
 * Asks on the terminal itself, without echo: standard input may carry the image. All questions in one go,
 * so that nothing is shown of a paste that answers more than one.
 *
 * @throws KeyError KEY_MISSING without a terminal, or for an empty answer; LimitError for one that is too long
 */
async function askAll<const Questions extends readonly string[]>(
  questions: Questions
): Promise<{ [I in keyof Questions]: Buffer }> {
  const terminal = openTerminal()
  const input = new ReadStream(terminal)
  const answers: Buffer[] = []
  try {
    input.setEncoding('utf8')
    input.on('data', (piece: string) => (typedAhead += piece))
    input.setRawMode(true)
    for (const question of questions) {
      writeSync(terminal, question)
      try {
        answers.push(normalizePassphrase(await readLine(input)))
      } finally {
        writeSync(terminal, '\n') // raw mode still makes it CR LF
      }
    }
    return answers as { [I in keyof Questions]: Buffer }
  } catch (error) {
    wipe(...answers)
    throw error
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

/** A line in raw mode, where the terminal does nothing by itself. */
function readLine(input: ReadStream): Promise<string> {
  const typed: string[] = [] // code points: backspace takes back a whole one
  return new Promise((resolve, reject) => {
    const end = (settle: () => void): void => {
      input.off('data', take).off('error', giveUp).off('end', giveUp)
      for (const signal of heardEndings) process.off(signal, giveUp)
      settle()
    }
    const giveUp = (): void => end(() => reject(new KeyError('KEY_MISSING', 'no passphrase was given')))
    const take = (): void => {
      for (const key of typedAhead) {
        typedAhead = typedAhead.slice(key.length)
        if (key === '\r' && typedAhead.startsWith('\n')) continue // both end one line
        if (key === '\r' || key === '\n' || key === keys.end) {
          end(() => resolve(typed.join('')))
          return
        }
        if (key === keys.interrupt) {
          process.kill(process.pid, 'SIGINT') // the wait ends when it arrives
          return
        }
        if (key === keys.backspace || key === keys.delete) typed.pop()
        else if (key === keys.killLine) typed.length = 0
        else if (typed.push(key) > typedSizeMax) {
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
  return new LimitError(`a passphrase that is typed has at most ${typedSizeMax} characters`)
}
