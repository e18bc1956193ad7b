import { scrypt } from 'node:crypto'

/** Cost of scrypt (RFC 7914): N = 2^logN, block size r, parallelism p. It takes 128 × N × r bytes of memory. */
export interface ScryptCost {
  readonly logN: number
  readonly r: number
  readonly p: number
}

/**
 * For new slots: 32 MiB, so that deriving a key beside a build fits what a build may take. OWASP's Password Storage
 * Cheat Sheet names it as equal to N = 2^17 with p = 1, which takes four times the memory.
 */
export const scryptDefaults: ScryptCost = { logN: 15, r: 8, p: 3 }

/** What a slot may ask of a reader: a hostile snapshot must not take all memory or hang. */
const limits = { logNMin: 10, logNMax: 20, rMax: 32, pMax: 16, memoryMax: 256 * 1024 * 1024 } as const

export function isInBounds({ logN, r, p }: ScryptCost): boolean {
  return (
    logN >= limits.logNMin &&
    logN <= limits.logNMax &&
    r >= 1 &&
    r <= limits.rMax &&
    p >= 1 &&
    p <= limits.pMax &&
    128 * r * 2 ** logN <= limits.memoryMax
  )
}

/** For people. */
export function describeCost({ logN, r, p }: ScryptCost): string {
  return `scrypt N = 2^${logN}, r = ${r}, p = ${p}`
}

/** A key of 32 bytes. The cost is in bounds. */
export function derive(
  passphrase: Uint8Array,
  salt: Uint8Array,
  { logN, r, p }: ScryptCost
): Promise<Buffer> {
  const N = 2 ** logN
  const maxmem = 128 * N * r + 128 * r * p + 1024 * 1024
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, 32, { N, r, p, maxmem }, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}
