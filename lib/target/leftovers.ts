import { rmSync, statSync } from 'node:fs'

/** Files that are being written and are not to stay, unless they are published. */
const unfinished = new Map<string, { readonly dev: number; readonly ino: number }>()

/** @param file of that name now: another's is not ours to remove */
export function rememberUnfinished(
  path: string,
  { dev, ino }: { readonly dev: number; readonly ino: number }
): void {
  unfinished.set(path, { dev, ino })
}

export function forgetUnfinished(path: string): void {
  unfinished.delete(path)
}

/** For a process that ends now, without waiting for anything that is in work. */
export function removeUnfinished(): void {
  for (const [path, { dev, ino }] of unfinished) {
    const found = statSync(path, { throwIfNoEntry: false })
    if (found?.dev === dev && found.ino === ino) rmSync(path, { force: true })
  }
}
