import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { skipUnless } from '../docs/run.js'

/** Whether this process may mount with FUSE: `false`, or the reason to skip. */
export function skipUnlessFuse(...programs: readonly string[]): string | false {
  const missing = skipUnless('nbdfuse', ...programs)
  if (missing !== false) return missing
  if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse'
  const isRoot = process.getuid?.() === 0
  return isRoot || spawnSync('fusermount3', ['-V']).status === 0 ? false : 'not installed: fusermount3'
}
