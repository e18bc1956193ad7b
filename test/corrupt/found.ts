/** What `verify` says of a file; `intact` when it passes it. */
export interface FoundCase {
  /** What is in the file, and what went wrong with it. */
  readonly what: string
  readonly verdict: 'intact' | 'BAD_STRUCTURE' | 'BAD_DIGEST' | 'UNKNOWN_FEATURE'
}

/** Snapshots in `found/` that `npm run fuzz` made and that were told wrong once, by name. `-sealed` ones are encrypted. */
export const found: Readonly<Record<string, FoundCase>> = {
  'block-doubled': {
    what: 'A block frame and its entry twice; recover said that the snapshot was whole.',
    verdict: 'BAD_STRUCTURE'
  },
  'block-of-2-gib': {
    what: 'An entry whose block claims 2 GiB; recover said whole.',
    verdict: 'BAD_STRUCTURE'
  },
  'block-of-another-stream': {
    what: 'A block of stream 2 of 1 before a page of stream 0; recover said whole.',
    verdict: 'BAD_STRUCTURE'
  },
  'counts-are-wrong-sealed': {
    what: 'The root counts other blocks than there are: for people, and no damage.',
    verdict: 'intact'
  },
  'dictionary-digest-sealed': {
    what: 'The root has another digest of the dictionary; recover said whole.',
    verdict: 'BAD_DIGEST'
  },
  'dictionary-is-a-page': {
    what: 'The root names a page as dictionary; recover said whole.',
    verdict: 'BAD_STRUCTURE'
  },
  'dictionary-too-late': {
    what: 'A block that needs the dictionary lies before it; recover said whole.',
    verdict: 'BAD_STRUCTURE'
  },
  'entry-copied': { what: 'An entry in place of another one; recover said whole.', verdict: 'BAD_STRUCTURE' },
  'fixed-chunks-of-two-sizes-sealed': {
    what: 'A header of fixed chunks of 512 to 1024 bytes; was opened.',
    verdict: 'BAD_STRUCTURE'
  },
  'hole-of-another-stream': { what: 'A hole of stream 128; recover said whole.', verdict: 'BAD_STRUCTURE' },
  'hole-to-2-53': {
    what: 'A hole that ends behind 2^53; recover gave ranges up to there.',
    verdict: 'BAD_STRUCTURE'
  },
  'lz4-that-grows': {
    what: 'An LZ4 block that decodes to four times its rawSize; recover said whole.',
    verdict: 'BAD_STRUCTURE'
  },
  'page-beyond-2-53': {
    what: 'A page that starts behind 2^53; recover said whole.',
    verdict: 'BAD_STRUCTURE'
  },
  'page-of-nothing': { what: 'A page frame without payload; was opened.', verdict: 'BAD_STRUCTURE' },
  'page-place-sealed': {
    what: 'A page whose place the root tells otherwise; recover said whole.',
    verdict: 'BAD_STRUCTURE'
  },
  'page-sealed-twice': { what: 'A page in a seal in a seal; recover said whole.', verdict: 'BAD_STRUCTURE' },
  'page-without-entries': {
    what: 'A page of no entries, by the root; was opened.',
    verdict: 'BAD_STRUCTURE'
  },
  'repeat-of-a-part': {
    what: 'A repeat of a part of a block, with the digest of that part.',
    verdict: 'BAD_STRUCTURE'
  },
  'repeat-of-another-size': {
    what: "A repeat whose storedSize is not its block's; verify passed what could not be read.",
    verdict: 'BAD_STRUCTURE'
  },
  'repeat-of-nothing': { what: 'A repeat frame of no chunks; verify passed it.', verdict: 'BAD_STRUCTURE' },
  'repeat-of-nothing-sealed': { what: 'The same, sealed.', verdict: 'BAD_STRUCTURE' },
  'repeat-of-part-behind-its-block': {
    what: 'A repeat of a part of the block before it; a read of both passed it, one of the repeat did not.',
    verdict: 'BAD_STRUCTURE'
  },
  'repeat-of-what-lies-in-a-skippable': {
    what: 'A repeat of a block frame inside a skippable one; verify passed it.',
    verdict: 'BAD_STRUCTURE'
  },
  'tag-without-encryption': {
    what: 'A footer with a tag in a snapshot that is not encrypted; verify passed it.',
    verdict: 'BAD_STRUCTURE'
  },
  'unknown-frame-sealed': { what: 'A frame of type 127; recover said whole.', verdict: 'UNKNOWN_FEATURE' },
  'zstd-junk': { what: 'A compressed Zstd block of noise; recover said whole.', verdict: 'BAD_STRUCTURE' },
  'zstd-reserved-bit': {
    what: 'A Zstd frame with the reserved bit of its descriptor set; verify passed it.',
    verdict: 'BAD_STRUCTURE'
  }
}
