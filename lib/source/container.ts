import { SourceError } from '../errors.js'
import type { Source } from './source.js'

/** First bytes of files that hold a disk in a form of their own, by what they are. */
const magics: readonly (readonly [what: string, at: number, bytes: Buffer])[] = [
  ['qcow2', 0, Buffer.from('QFI\xfb', 'latin1')],
  ['VMDK', 0, Buffer.from('KDMV')],
  ['VMDK', 0, Buffer.from('COWD')],
  ['VMDK', 0, Buffer.from('# Disk DescriptorFile')],
  ['VHDX', 0, Buffer.from('vhdxfile')],
  ['VHD', 0, Buffer.from('conectix')],
  ['VDI', 64, Buffer.from('7f10dabe', 'hex')]
]

const headSize = 128

/**
 * Refuses a file that holds a disk in a form of its own: stored as it is, nothing in it could be read at an offset of the
 * disk. Only files are looked at: what a guest has written to a device must not decide how it is stored.
 *
 * @throws SourceError SOURCE_UNSUITABLE
 */
export async function refuseContainer({ name, isFile, readAt }: Source): Promise<void> {
  if (isFile !== true || readAt === undefined) return
  const head = Buffer.alloc(headSize)
  await readAt(0, head)
  const found = magics.find(([, at, bytes]) => head.subarray(at, at + bytes.length).equals(bytes))
  if (found === undefined) return
  throw new SourceError(
    'SOURCE_UNSUITABLE',
    `${name} is a ${found[0]} image, not the disk itself: use qemu-img convert -O raw first`,
    { where: name, remedy: { option: 'format', does: 'raw stores the file as it is' } }
  )
}
