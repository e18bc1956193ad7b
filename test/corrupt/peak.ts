/** The most memory that a process held, as it says itself. */

/** Bytes that a command may hold over a small hostile file, with two threads. */
export const heldMax = 300 * 2 ** 20

/** For node: prints the process's own peak, in KiB, after all else. */
const print = 'process.on("exit",()=>process.stderr.write("\\npeak "+process.resourceUsage().maxRSS))'
export const nodeOptions = ['--import', `data:text/javascript,${encodeURIComponent(print)}`]

/** Bytes; not a number where the process was killed. */
export function heldBy(stderr: string): number {
  return Number(/peak (\d+)$/.exec(stderr)?.[1]) * 1024
}
