import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../docs/run.js'
import { mixedBytes, randomBytes, textBytes } from './data.js'

/** Makes an ext4 image of `sizeMiB` with files of every kind in it, and gives its path. Needs mke2fs. */
export async function makeFilesystem(folder: string, sizeMiB: number): Promise<string> {
  const tree = join(folder, 'tree')
  mkdirSync(join(tree, 'var', 'log'), { recursive: true })
  writeFileSync(join(tree, 'random.bin'), randomBytes(700_000, 1))
  writeFileSync(join(tree, 'mixed.bin'), mixedBytes(1_500_000, 2))
  writeFileSync(join(tree, 'var', 'log', 'text.log'), textBytes(900_000, 3))
  for (let i = 0; i < 50; i++) writeFileSync(join(tree, 'var', `small-${i}`), textBytes(100 + i * 37, i))
  const image = join(folder, 'disk.img')
  const made = await run('mke2fs', ['-q', '-t', 'ext4', '-d', tree, image, `${sizeMiB}M`])
  if (made.exitCode !== 0) throw new Error(`mke2fs: ${made.stderr}`)
  return image
}
