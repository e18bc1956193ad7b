import type { Command } from './command.js'

/** Loads a command when it is wanted: nobody who asks for help should wait for codecs to load. */
export const commands: Readonly<Record<string, () => Promise<Command>>> = {
  build: async () => (await import('./build.js')).build,
  pack: async () => (await import('./build.js')).pack,
  train: async () => (await import('./train.js')).train,
  predict: async () => (await import('./predict.js')).predict,
  extract: async () => (await import('./extract.js')).extract,
  inspect: async () => (await import('./inspect.js')).inspect,
  verify: async () => (await import('./verify.js')).verify,
  diff: async () => (await import('./diff.js')).diff,
  serve: async () => (await import('./serve.js')).serve,
  mount: async () => (await import('./mount.js')).mount,
  key: async () => (await import('./key.js')).key,
  keygen: async () => (await import('./keygen.js')).keygen,
  recover: async () => (await import('./recover.js')).recover
}
