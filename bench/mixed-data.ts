import { createCipheriv } from 'node:crypto'

const MiB = 1024 * 1024

/** One MiB of words and numbers that never comes twice: every line carries its place. */
function textPiece(number: number): Buffer {
  const words = ['module', 'wire', 'reset', 'assign', 'always', 'begin', 'end', 'output', 'input', 'clock']
  const lines: string[] = []
  for (let size = 0, line = 0; size < MiB; line++) {
    const text = `${words[line % 10] ?? ''} n${number}_${line} ${words[(line * 7 + number) % 10] ?? ''} = ${(line * 2654435761) >>> 0};\n`
    lines.push(text)
    size += text.length
  }
  return Buffer.from(lines.join('')).subarray(0, MiB)
}

/**
 * `size` bytes in pieces of 1 MiB, the same on every run: half random, a quarter text, an eighth that
 * repeats what came before, an eighth zeros.
 */
export function* mixedData(size: number): Generator<Buffer, void> {
  const random = createCipheriv('aes-128-ctr', Buffer.alloc(16, 1), Buffer.alloc(16))
  const zeros = Buffer.alloc(MiB)
  const kept: Buffer[] = []
  for (let done = 0, number = 0; done < size; done += MiB, number++) {
    const turn = number % 8
    const repeated = kept[number % 64]
    let piece: Buffer
    if (turn === 7) piece = zeros
    else if (turn === 6 && repeated !== undefined) piece = repeated
    else if (turn % 3 === 2) piece = textPiece(number)
    else piece = random.update(zeros)
    if (kept.length < 64) kept.push(piece)
    yield piece.subarray(0, size - done)
  }
}
