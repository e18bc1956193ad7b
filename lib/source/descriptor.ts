import { readFileSync } from 'node:fs'

/**
 * Where a descriptor stands in its file, in bytes.
 *
 * @returns `undefined` where the system does not tell: only Linux does
 */
export function positionOf(fd: number): number | undefined {
  try {
    const position = /^pos:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]
    return position === undefined ? undefined : Number(position)
  } catch {
    return undefined
  }
}

/**
 * The descriptor of this process that a path names, such as `/dev/stdin` or `/dev/fd/3`. To open such a path works for
 * some kinds of files and not for others, and starts again at the first byte where the descriptor stands elsewhere.
 */
export function descriptorOf(path: string): number | undefined {
  const standard = ['/dev/stdin', '/dev/stdout', '/dev/stderr'].indexOf(path)
  if (standard !== -1) return standard
  const number = /^\/(?:dev|proc\/self)\/fd\/(\d{1,4})$/.exec(path)?.[1]
  return number === undefined ? undefined : Number(number)
}
