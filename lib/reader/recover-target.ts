import { errnoOf } from '../errors.js'

/** Where recovered bytes go. What is not given stays a hole; what proves wrong later is overwritten with zeros. */
export interface RecoverTarget {
  writeAt(offset: number, bytes: Uint8Array): Promise<void>
  /** Makes it longer, so that it is known whether it can be that long. */
  setSize?(size: number): Promise<void>
}

/** A jump of more than this past what is known of the stream is tried before it is believed. */
export const jumpMax = 64 * 1024 * 1024

/** Whether a target can be so long: a frame that points further than any file can reach is just wrong. */
export async function canReach(target: RecoverTarget, end: number): Promise<boolean> {
  try {
    await target.setSize?.(end)
    return true
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined
    if (['EFBIG', 'EINVAL'].includes(errnoOf(cause) ?? errnoOf(error) ?? '')) return false
    throw error
  }
}
