const zeros = Buffer.alloc(64 * 1024)

/** Whether every byte is zero. Compares with a block of zeros, which is memory-bound, after a look at both ends. */
export function isZero(bytes: Uint8Array): boolean {
  if (bytes.length === 0 || bytes[0] !== 0 || bytes[bytes.length - 1] !== 0) return bytes.length === 0
  for (let offset = 0; offset < bytes.length; offset += zeros.length) {
    const piece = bytes.subarray(offset, offset + zeros.length)
    if (zeros.compare(piece, 0, piece.length, 0, piece.length) !== 0) return false
  }
  return true
}
