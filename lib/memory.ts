/**
 * Bytes to leave out at the start of memory that files and pipes are read into. A large allocation starts 16 bytes into
 * a page of 4096, and what the kernel copies to it starts with a page. Where a target lies 1 to 31 bytes behind its
 * source in that sense, AMD's Zen 3 and 4 copy at a quarter of their speed (glibc bug 30994). 48 more is a cache line's
 * start, too.
 */
export const pageSkew = 48

/** Memory to read into; the contents are whatever was there. */
export function readBuffer(size: number): Buffer<ArrayBuffer> {
  return Buffer.allocUnsafeSlow(pageSkew + size).subarray(pageSkew)
}
