import type { Target } from '../target.js'

/** Faults of the kinds that end or stop a process, for the test of the fuzzer; never run unless asked for. */
export function plantedTarget(): Target {
  const faults: readonly (() => void)[] = [
    () => undefined,
    () => void Promise.reject(new TypeError('nobody waits for it')),
    () => process.abort(),
    () => {
      for (;;);
    },
    () => void Buffer.alloc(330 * 2 ** 20, 1)
  ]
  return {
    name: 'planted',
    share: 0,
    make(words) {
      const number = (words[1] ?? 0) % faults.length
      return Promise.resolve({
        bytes: Buffer.from([number]),
        story: [`fault ${number}`],
        check() {
          faults[number]?.()
          return Promise.resolve(undefined)
        }
      })
    }
  }
}
