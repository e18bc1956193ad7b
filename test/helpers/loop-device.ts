import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'

const isUsable =
  process.getuid?.() === 0 &&
  spawnSync('losetup', ['-f']).status === 0 &&
  spawnSync('mkfs.ext4', ['-V']).status === 0

/** Why tests with loop devices are skipped, or `false`. */
export const skipLoop = isUsable ? false : 'needs root, losetup and mkfs.ext4'

export interface LoopDevice {
  /** Such as /dev/loop0. */
  readonly path: string
  /** The file that is behind it. */
  readonly file: string
}

/** Runs a program; throws what it says when it fails. */
export function must(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: 'pipe' }).trim()
}

/** A block device of so many bytes, all zeros, until the test ends. */
export function loopDevice(t: Test, folder: string, size: number): LoopDevice {
  const file = join(folder, 'loop.img')
  writeFileSync(file, '')
  truncateSync(file, size)
  const path = must('losetup', '-f', '--show', file)
  t.teardown(() => must('losetup', '-d', path))
  return { path, file }
}

/** Makes a filesystem on a device and mounts it until the test ends, or the answer is called. */
export function mounted(t: Test, device: string, folder: string): () => void {
  const point = join(folder, 'mounted')
  mkdirSync(point, { recursive: true })
  must('mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', device)
  must('mount', device, point)
  let isMounted = true
  const unmount = (): void => {
    if (isMounted) must('umount', point)
    isMounted = false
  }
  t.teardown(unmount)
  return unmount
}
