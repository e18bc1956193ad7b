/** Values used last, up to a sum of bytes. */
export interface Cache<Key, Value> {
  /** Bytes that the values kept take. */
  readonly size: number
  /** The value when it is kept; that counts as a use. */
  peek(key: Key): Value | undefined
  add(key: Key, value: Value): void
}

/**
 * Keeps what was used last. A value larger than all the room pushes all others out, and is not
 * kept either.
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
  const remove = (key: Key): void => {
    const value = kept.get(key)
    if (value === undefined) return
    kept.delete(key)
    size -= sizeOf(value)
  }
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
      remove(key)
      kept.set(key, value)
      size += sizeOf(value)
      for (const oldest of kept.keys()) {
        if (size <= sizeMax) break
        remove(oldest)
      }
    }
  }
}
