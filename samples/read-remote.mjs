// Reads a range of a snapshot that lies behind a URL, and says how little of it was fetched. The server must
// answer range requests, as nginx, Apache and object stores do.
//
// usage: node samples/read-remote.mjs URL OFFSET LENGTH [STREAM]
import { openSnapshot } from 'hexz'

const [url, offset, length, stream = 'disk'] = process.argv.slice(2)

const snapshot = await openSnapshot(url)
try {
  process.stdout.write(await snapshot.read(stream, Number(offset), Number(length)))
  const { size, requestCount } = snapshot.fetched
  console.error(`fetched ${size} of ${snapshot.fileSize} bytes in ${requestCount} requests`)
} finally {
  await snapshot.close()
}
