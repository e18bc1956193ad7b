/** One block of a file in PEM (RFC 7468). */
export interface PemBlock {
  /** What stands behind BEGIN: `CERTIFICATE`. */
  readonly label: string
  /** From BEGIN to END; a view of the file. */
  readonly bytes: Buffer
}

const byteOrderMark = Buffer.from('\ufeff')
const dashes = Buffer.from('-----')

/**
 * The blocks of a file, in order. A block starts and ends with a line of its own; everything else is comment, whatever
 * words are in it, and so is a block that does not end. Only those lines become strings: the rest may be secret.
 */
export function pemBlocks(file: Buffer): PemBlock[] {
  const blocks: PemBlock[] = []
  let open: { label: string; start: number } | undefined
  let start = file.subarray(0, byteOrderMark.length).equals(byteOrderMark) ? byteOrderMark.length : 0
  while (start < file.length) {
    const newLine = file.indexOf('\n', start)
    const end = newLine === -1 ? file.length : newLine
    if (file.subarray(start, start + dashes.length).equals(dashes)) {
      const [, word, label = ''] =
        /^-----(BEGIN|END) (.*)-----\s*$/.exec(file.toString('latin1', start, end)) ?? []
      if (word === 'BEGIN') open = { label, start }
      if (word === 'END' && open?.label === label) {
        blocks.push({ label, bytes: file.subarray(open.start, end) })
        open = undefined
      }
    }
    start = end + 1
  }
  return blocks
}
