/** Values used last, up to a sum of bytes. */
export interface Cache<Key, Value> {
  /** Bytes that the values kept take. */
  readonly size: number
  /** The value when it is kept; that counts as a use. */
  peek(key: Key): Value | undefined
  add(key: Key, value: Value): void
  clear(): void
}

/**
 * Keeps what was used last. A value larger than all the room is not kept.
 *
 * @param sizeMax bytes
 * @param sizeOf bytes of a value; the same whenever it is asked for
 */
export function createCache<Key, Value>(
  sizeMax: number,
  sizeOf: (value: Value) => number
): Cache<Key, Value> {
  /** Oldest use first: a Map keeps the order of insertion. */
  const kept = new Map<Key, Value>()
  let size = 0
  return {
    get size() {
      return size
    },
    peek(key) {
      const value = kept.get(key)
      if (value === undefined) return undefined
      kept.delete(key)
      kept.set(key, value)
      return value
    },
    add(key, value) {
      const before = kept.get(key)
      if (before !== undefined) size -= sizeOf(before)
      kept.delete(key)
      const added = sizeOf(value)
      if (added > sizeMax) return
      kept.set(key, value)
      size += added
      for (const [oldest, old] of kept) {
        if (size <= sizeMax) break
        kept.delete(oldest)
        size -= sizeOf(old)
      }
    },
    clear() {
      kept.clear()
      size = 0
    }
  }
}
