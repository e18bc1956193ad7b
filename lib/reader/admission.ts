/** Lets work in while its bytes have room. */
export interface Admission {
  /** Whether work of that size would not have to wait. */
  hasRoom(size: number): boolean
  /** Resolves when there is room; in the order of asking. What is larger than all the room goes alone. */
  enter(size: number): Promise<void>
  leave(size: number): void
}

/** @param sizeMax bytes in work at one time */
export function createAdmission(sizeMax: number): Admission {
  let inWork = 0
  const waiting: { readonly size: number; readonly start: () => void }[] = []
  const fits = (size: number): boolean => inWork === 0 || inWork + size <= sizeMax
  return {
    hasRoom: (size) => waiting.length === 0 && fits(size),
    enter(size) {
      if (waiting.length === 0 && fits(size)) {
        inWork += size
        return Promise.resolve()
      }
      return new Promise((resolve) => waiting.push({ size, start: resolve }))
    },
    leave(size) {
      inWork -= size
      for (let next = waiting[0]; next !== undefined && fits(next.size); next = waiting[0]) {
        waiting.shift()
        inWork += next.size
        next.start()
      }
    }
  }
}
