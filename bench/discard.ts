import { Writable } from 'node:stream'

/** Takes everything and keeps nothing: for the size of a snapshot, or the time that it takes. */
export function discard(): Writable {
  return new Writable({
    write(_piece, _encoding, done) {
      done()
    }
  })
}
