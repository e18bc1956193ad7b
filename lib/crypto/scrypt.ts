import { scrypt } from 'node:crypto'
import { formatLimits } from '../limits.js'

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

/**
 * What the slots of a snapshot may ask of a reader: a hostile one must not take all memory or hang. The work, N × r × p,
 * is that of all slots together: 21 times that of a new slot, so that 16 of these are well within it.
 */
const limits = {
  logNMin: 10,
  logNMax: 20,
  rMax: 32,
  pMax: 16,
  memoryMax: 256 * 1024 * 1024,
  workMax: formatLimits.scryptWorkMax
} as const

/** What the time grows with. */
const workOf = ({ logN, r, p }: ScryptCost): number => 2 ** logN * r * p

export function isInBounds(cost: ScryptCost): boolean {
  const { logN, r, p } = cost
  return (
    logN >= limits.logNMin &&
    logN <= limits.logNMax &&
    r >= 1 &&
    r <= limits.rMax &&
    p >= 1 &&
    p <= limits.pMax &&
    128 * r * 2 ** logN <= limits.memoryMax &&
    workOf(cost) <= limits.workMax
  )
}

/**
 * Those of some costs that a reader takes on, the least first: each is in bounds, and so is the work of all of them. One
 * that asks for much keeps none that asks for little from its turn.
 */
export function chooseAffordable<Cost extends ScryptCost>(costs: readonly Cost[]): Cost[] {
  let work = 0
  return costs
    .filter(isInBounds)
    .sort((one, other) => workOf(one) - workOf(other))
    .filter((cost) => (work += workOf(cost)) <= limits.workMax)
}

/** For people. */
export function describeCost({ logN, r, p }: ScryptCost): string {
  return `scrypt N = 2^${logN}, r = ${r}, p = ${p}`
}

/** The same of a cost that a reader does not take on. */
export function describeExcess(cost: ScryptCost): string {
  return `${describeCost(cost)}, which is out of bounds${isInBounds(cost) ? ' together with the other slots' : ''}`
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
