import { makeCorpus } from './corpus.js'
import type { Input, Keep, Target } from './target.js'
import { dictionaryTarget } from './targets/dictionary.js'
import { httpClientTarget } from './targets/http-client.js'
import { httpServerTarget } from './targets/http-server.js'
import { keysTarget, slotsTarget } from './targets/keys.js'
import { nbdTarget } from './targets/nbd.js'
import { plantedTarget } from './targets/planted.js'
import { snapshotTarget } from './targets/snapshot.js'

/** Gives each number its input: the same for a seed, whatever the speed and whoever asks. */
export interface Inputs {
  readonly targets: readonly Target[]
  targetOf(number: number): Target
  make(number: number, keep?: Keep): Promise<Input>
  close(): Promise<void>
}

const all: Keep = () => true

/** @param only name of the target that every number is for */
export async function createInputs(seed: number, only?: string): Promise<Inputs> {
  const targets: readonly Target[] = [
    snapshotTarget(await makeCorpus()),
    slotsTarget(),
    keysTarget(),
    dictionaryTarget(),
    nbdTarget(),
    httpServerTarget(),
    httpClientTarget(),
    plantedTarget()
  ]
  const table = targets.flatMap((target) => Array.from({ length: target.share }, () => target))
  const chosen = targets.find(({ name }) => name === only)
  if (only !== undefined && chosen === undefined) {
    const names = targets.map(({ name }) => name).join(', ')
    throw new Error(`there is no target ${only}; there are ${names}`)
  }
  // 7919 is prime, so that neighbours are for different targets.
  const targetOf = (number: number): Target =>
    chosen ?? table[(number * 7919) % table.length] ?? plantedTarget()
  return {
    targets,
    targetOf,
    make: (number, keep = all) => targetOf(number).make([seed, number], keep),
    async close() {
      for (const target of targets) await target.close?.()
    }
  }
}
