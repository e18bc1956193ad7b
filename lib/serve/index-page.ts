import { printable } from '../printable.js'
import type { Snapshot } from '../reader/open-snapshot.js'

/** The page at `/`: what the snapshot holds, with links. */
export function indexPage({ name, digest, streams }: Snapshot): string {
  const rows = streams.map(
    (stream) =>
      `<li><a href="/${encodeURIComponent(stream.name)}">${escape(stream.name)}</a>: ${stream.size} bytes, of which ${stream.holeSize} are zeros</li>`
  )
  return [
    '<!doctype html>',
    '<html lang="en">',
    `<head><meta charset="utf-8"><title>${escape(name)}</title></head>`,
    '<body>',
    `<h1>${escape(name)}</h1>`,
    '<ul>',
    ...rows,
    '</ul>',
    `<p>Digest ${Buffer.from(digest).toString('hex')}. Requests may ask for a range of bytes.</p>`,
    '</body>',
    '</html>',
    ''
  ].join('\n')
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

function escape(text: string): string {
  return printable(text).replace(/[&<>"]/g, (letter) => entities[letter] ?? letter)
}
