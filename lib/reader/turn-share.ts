import { setImmediate as nextTurn } from 'node:timers/promises'

/** So many bytes of work may be done in one turn of the event loop, by all who share. */
export interface TurnShare {
  /** Takes `size` bytes when they are left; what is larger than all the share goes alone. */
  take(size: number): boolean
  /** The same, and waits for a turn in which they are. */
  takeLater(size: number): Promise<void>
}

/**
 * Begins a new turn only when its share is used up: an immediate for each piece of work would make the event loop go
 * round for nothing.
 *
 * @param sizeMax bytes in a turn
 */
export function createTurnShare(sizeMax: number): TurnShare {
  let taken = 0
  let renewal: Promise<void> | undefined
  const renew = async (): Promise<void> => {
    await nextTurn()
    taken = 0
    renewal = undefined
  }
  const share: TurnShare = {
    take(size) {
      if (taken > 0 && taken + size > sizeMax) return false
      taken += size
      return true
    },
    async takeLater(size) {
      while (!share.take(size)) await (renewal ??= renew())
    }
  }
  return share
}
